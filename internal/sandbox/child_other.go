//go:build !linux

package sandbox

import "syscall"

// childAttributes keep a terminal's Ctrl-C from a child, which this process stops in order. When this process dies, the
// watchdog kills it.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
