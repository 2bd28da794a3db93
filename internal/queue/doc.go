// Package queue is the only home of asynq: the task and its payload, the client that puts tasks into Redis, and the
// server that pulls them. It translates the class of a failure into what asynq understands; nobody else speaks of
// retries.
//
// Redis carries work and nothing else. The ledger knows every request; a task that is lost, doubled or late costs a
// look at the ledger. asynq's own counters decide nothing: the attempts are counted in the ledger, and its archive,
// which drops tasks silently, receives only tasks that no request stands behind.
package queue
