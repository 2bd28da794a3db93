// Package demo shows a whole purge on one machine: private servers, an invented Open edX site, the real binaries, and a
// check of the result that trusts neither of them.
//
// The binaries run as processes with configuration files and environment, as an operator would run them, under exactly
// the rights of configs/mysql/grants.sql. This package knows nothing of their insides: no queue, no storage client, no
// ORM.
package demo
