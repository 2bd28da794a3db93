// Package overview is the page for whoever is called at three in the morning: is it making progress, what waits, what
// has failed and what mends it.
//
// It is one page without scripts. What is cheap is read when somebody looks, at most every few seconds; what is
// expensive is read in the background after somebody has looked, and shown with its age.
package overview
