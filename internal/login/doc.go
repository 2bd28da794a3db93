// Package login says who is behind a request and what they may do: named users with hashed passwords, or the word of a
// proxy that is trusted. It is slow for those who guess, and takes the same time whether a user exists or not.
// It never keeps a password, and never logs one.
package login
