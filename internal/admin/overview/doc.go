// Package overview is the page for the operator on call at three in the morning: is it making progress, what waits,
// what has failed and what fixes it.
//
// It is one page without scripts. What is cheap is read when the page is visited, at most every few seconds; what is
// expensive is read in the background after a visit, and shown with its age.
package overview
