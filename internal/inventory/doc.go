// Package inventory lists everything below the directories of the locations once, and joins it with the references of
// the LMS and the evidence of the ledger: is there a file that no link leads to? It changes nothing.
//
// # Order
//
// The bucket is listed first, into a file on disk; the references are read afterwards, and the evidence last. A
// certificate that is made while the inventory runs has its link by then, or files that are younger than the run: it is
// never called an orphan. A user who is purged while it runs has evidence that is younger than the run: what was listed
// of them counts as gone. In the other order, both would be orphans.
//
// # Memory
//
// 18 bytes for each id that a reference holds, and for each directory without one, and 4 bytes for each user with a
// retirement request, however many objects there are.
package inventory
