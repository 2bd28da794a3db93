// Package audit judges a purge from outside. It knows what was stored before, what should have become of it, and looks
// at what is there now, with its own queries and its own listings: it neither asks the worker's code nor trusts its
// counters.
//
// Everything is compared, not only what was to go: every row of every table of the LMS database, byte for byte, and
// every stored generation of every object.
package audit
