// Package queue puts tasks into Redis and pulls them: the task and its payload, the client, the server and the
// connection to Redis. It translates the class of a failure into what asynq understands; no other package mentions
// retries. asynq is imported here and in the packages below: presence, inspect and dashboard.
//
// Redis carries work and nothing else. The ledger has every request; a task that is lost, duplicated or delayed costs a
// read of the ledger. asynq's own counters decide nothing: the ledger counts the attempts, and asynq's archive, which
// drops tasks silently, receives only tasks without a request.
package queue
