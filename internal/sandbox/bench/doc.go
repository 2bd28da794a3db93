// Package bench measures purges end to end: the worker's own queue server, handler, domain, ledger and store in this
// process, a real MySQL and Redis, and the storage emulator in a process of its own, so that processor time is the
// worker's alone. tools/river runs other ways on the same sites.
//
//	make bench PACKAGES=./internal/sandbox/bench BENCH=Purge
//
// Without more, each benchmark takes some seconds. BENCH_FULL=1 runs the whole tables of docs/benchmarks.md, and
// BENCH_USERS=100000 adds a number of users to the growth.
package bench
