// Package httpapi is certpurge over HTTP, with two faces.
//
// The driver face answers an unmodified Open edX retirement driver, whose treatment of each status decides what happens
// to a learner; see answers.go. The native face, /v1, is for programs; its contract is openapi.yaml, which a test holds
// against the handlers.
//
// Nothing here purges, and nothing here decides whether a user may be purged: a submission goes into the ledger and the
// queue, and workers do the rest. No answer holds personal data: the LMS stores what the driver gets.
package httpapi
