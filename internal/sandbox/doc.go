// Package sandbox runs private servers for the demo and for tests: a MariaDB (or an Oracle MySQL: EnvServer) and a
// Redis that belong to this process alone, live in a temporary directory, and leave nothing behind, not even when the
// process is killed.
//
// They are the real programs, because nothing that can be embedded behaves like MySQL where it matters here (row locks,
// savepoints, GET_LOCK, deadlines). No server of the machine's own is touched: options files are ignored, ports are
// random, and Install unpacks missing programs beside the system rather than into it.
//
// The package is not for production: worker and enqueuer must not link it.
package sandbox
