// Package configs carries those of the example files that a program runs itself: the demo makes its accounts by the
// very grants that operators are given.
package configs

import _ "embed"

// Grants is mysql/grants.sql: the accounts of worker and enqueuer, and their rights.
//
//go:embed mysql/grants.sql
var Grants string

// RedisUsers is redis/users.acl: the accounts of worker and enqueuer in Redis, and their rights.
//
//go:embed redis/users.acl
var RedisUsers string
