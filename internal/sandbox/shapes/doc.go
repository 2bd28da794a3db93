// Package shapes purges the demo's site on Redis and MySQL as they are run in production: Redis behind Sentinel, as a
// Cluster, with TLS and accounts, of several versions; MySQL with a private authority, with roles, as nodes of Galera,
// behind a proxy. In the middle of each backfill the servers fail over. At the end the auditor of the demo compares
// every row and every file with what the site's author expects: no request is lost.
//
// Its tests need minutes and packages of Debian's unstable, so they have a build tag: make shapes runs them.
package shapes
