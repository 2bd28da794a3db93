package sandbox

import "syscall"

// serverAttributes keep a terminal's Ctrl-C from the servers, which end after the command that uses them, and have the
// kernel kill them when this process dies. The watchdog does that too; the kernel does it at once.
func serverAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
