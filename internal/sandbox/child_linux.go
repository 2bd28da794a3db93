package sandbox

import "syscall"

// childAttributes keep a terminal's Ctrl-C from a child, which this process stops in order, and have the kernel kill it
// when this process dies. The watchdog does that too, a little later.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
