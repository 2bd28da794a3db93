// Package console is the pages for operators and privacy officers: how it stands, which requests there are, what
// happened to each, what is left of a user, and what fixes a problem.
//
// Pages are made on the server, and work without their script. What is cheap is read when a page is visited, at most
// every few seconds; what is expensive is read in the background after a visit, and shown with its age. Every query of
// a page has an index and a bound. What a visitor may change goes through a form on a page that says what will happen.
package console
