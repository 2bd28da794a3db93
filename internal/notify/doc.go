// Package notify notifies another service, by a webhook, that requests have ended and that the verdict of the overview
// has changed, so that it need not poll. It replaces no other package: until now, callers had to ask.
//
// Only the worker writes that a request has ended, into the row of the request. The leading Notifier finds
// such rows along an index, from a position that the ledger keeps, and remembers one notification for each end. So a
// purge costs nothing more, workers of earlier versions are told about as well, and an end is told however long no
// process ran, up to notify.max_age.
//
// A notification is sent until the receiver accepts it, with the same id each time: the receiver sees each at least
// once, and knows repetitions by the id.
package notify
