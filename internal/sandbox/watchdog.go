package sandbox

import (
	"fmt"
	"io"
	"os/exec"
	"syscall"
)

// pidSuffix ends the names of the pid files that the watchdog looks for.
const pidSuffix = ".pid"

// watchScript waits for the end of its standard input: a pipe that is never written to and that the kernel closes when
// this process ends, even by SIGKILL. Then it kills the servers whose pid files are left and removes the directory $1.
// A killed server may still be writing for a moment, so the removal is tried again, for five seconds at most.
const watchScript = `
trap '' HUP INT TERM
cat >/dev/null
for file in "$1"/*` + pidSuffix + `; do
	if [ -f "$file" ]; then kill -9 "$(cat "$file")"; fi
done
tries=0
until rm -rf "$1"; do
	tries=$((tries + 1))
	if [ "$tries" -ge 50 ]; then exit 1; fi
	sleep 0.1
done
`

// watchdog is a shell that outlives this process for a moment to clean up after it.
type watchdog struct {
	cmd  *exec.Cmd
	pipe io.Closer
}

// startWatchdog guards dir, which must be a directory of our own making: it is removed with all that is in it.
func startWatchdog(dir string) (*watchdog, error) {
	// Not bound to a context: it must outlive every one. It ends with its input.
	cmd := exec.Command("/bin/sh", "-c", watchScript, "certpurge-watchdog", dir) //nolint:gosec,noctx // our directory
	cmd.Dir = "/"
	// A session of its own, so that neither Ctrl-C nor a killed process group reaches it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting the watchdog: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the watchdog: %w", err)
	}
	return &watchdog{cmd: cmd, pipe: pipe}, nil
}

// release lets the watchdog do what is left to do and waits for its end.
func (w *watchdog) release() {
	_ = w.pipe.Close()
	_ = w.cmd.Wait()
}
