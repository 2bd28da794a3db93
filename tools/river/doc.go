// Package riverbench compares certpurge with River (riverqueue.com) on PostgreSQL: how fast users are purged and
// requests are accepted, and how much processor time that takes. It is a module of its own, so that neither River nor a
// PostgreSQL driver is near the product. `make bench-river` runs it.
package riverbench
