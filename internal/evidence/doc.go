// Package evidence is what certpurge writes down about an erasure: one document before the first delete of an
// attempt, one with its result, each in canonical JSON (RFC 8785) and chained to the one before it of the same
// request by its hash. It reads documents back, and computes from all of a user's the outcome of each file.
package evidence
