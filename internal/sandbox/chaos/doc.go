// Package chaos purges an invented Open edX site while everything around the purge breaks: the bucket, MySQL, Redis,
// the workers and the enqueuers. An observer that knows nothing of the product's insides watches the LMS tables and the
// bucket all the time.
//
// What runs is real: the binaries as processes, a private MariaDB or MySQL and Redis, the storage client against the
// emulator. What must hold while faults are at work: no reference is cleared while a generation of its artifacts is
// stored, and nothing of a user who is not retiring is touched. What must hold at the end: every request has the end
// that the site's author expects, and ledger, tables and buckets agree.
//
// Beside the storm of faults there are scenarios of one kind of trouble each; docs/chaos.md describes all.
//
// The faults, their order, their mixture and the users that meet them come from one seed. The interleaving of processes
// does not, so a seed repeats the schedule and not the run.
package chaos
