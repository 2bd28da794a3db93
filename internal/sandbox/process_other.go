//go:build !linux

package sandbox

import "syscall"

// serverAttributes keep a terminal's Ctrl-C from the servers, which end after the command that uses them. When this
// process dies, the watchdog kills them.
func serverAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
