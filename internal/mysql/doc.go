// Package mysql is the only home of SQL: it reads and clears references in the LMS database, and keeps the ledger
// beside it, in a schema of its own on the same server, so that both change in one transaction. It speaks to MySQL 8
// and MariaDB 10.6 or newer, and assumes nothing about the character set of any LMS table.
//
// It never writes another LMS column than download_uuid and download_url, and never a history row.
package mysql
