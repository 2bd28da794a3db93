// Package certificate makes the certificate of erasure of one user: one document that stands alone. It is read from the
// ledger and from the LMS in one go, and has three forms: canonical JSON (RFC 8785), which can be signed with Ed25519
// and compared with the ledger later, a page that prints, and a text.
//
// It says certificate only if nothing is left. Otherwise it is a statement of what is left: the same facts, with the
// reasons in front. What counts as left is in left.go.
package certificate
