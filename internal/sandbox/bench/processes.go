package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Worker is the name of this process among those whose processor time is counted.
const Worker = "worker"

// Process is one whose processor time is counted.
type Process struct {
	Name string
	Used func() (time.Duration, error) // since its start
}

// Used is the processor time of each process, by its name.
type Used map[string]time.Duration

func (u Used) plus(more Used) Used {
	sum := maps.Clone(more)
	for name, used := range u {
		sum[name] += used
	}
	return sum
}

// Minus is the difference.
func (u Used) Minus(before Used) Used {
	difference := maps.Clone(u)
	for name, used := range before {
		difference[name] -= used
	}
	return difference
}

// Each is the time for each of n users in milliseconds, and the sum as "cpu". Without the servers' share there is no
// sum.
func (u Used) Each(n int) map[string]float64 {
	each, sum := map[string]float64{}, 0.0
	for name, used := range u {
		each[name] = used.Seconds() * 1000 / float64(n)
		sum += each[name]
	}
	if len(u) > 1 {
		each["cpu"] = sum
	}
	return each
}

// OtherCores is how many cores other programs were using, if the whole machine has used so much in the time that it
// took. With more than a few tenths, a rate that the processor limits is not what the machine can do.
func (u Used) OtherCores(machine, took time.Duration) float64 {
	for _, used := range u {
		machine -= used
	}
	return max(0, machine.Seconds()/took.Seconds())
}

// Used reads what the site's processes, and others, have used so far.
func (s *Site) Used(b *testing.B, others ...Process) Used {
	b.Helper()
	used := Used{}
	for _, p := range slices.Concat(s.processes, others) {
		var err error
		if used[p.Name], err = p.Used(); err != nil {
			b.Errorf("reading the processor time of %s: %v", p.Name, err)
		}
	}
	return used
}

// findProcesses finds the site's processes. Where the servers run elsewhere, or the system has no /proc, it is this
// process alone.
func (s *Site) findProcesses(b *testing.B) []Process {
	b.Helper()
	worker := Process{Worker, func() (time.Duration, error) { return processorTime(), nil }}
	mysql, mysqlErr := s.mysqlPID(b.Context())
	redis, redisErr := s.redisPID(b.Context())
	if err := errors.Join(mysqlErr, redisErr); err != nil {
		b.Logf("without the processor time of the servers: %v", err)
		return []Process{worker}
	}
	return []Process{
		worker, ServerProcess(string(s.db.Engine(b)), mysql), ServerProcess("redis", redis),
		ServerProcess("storage", s.storage.pid),
	}
}

// mysqlPID asks the server for the file with the id of its process.
func (s *Site) mysqlPID(ctx context.Context) (int, error) {
	var file, data string
	if err := s.db.Root.QueryRowContext(ctx, "SELECT @@pid_file, @@datadir").Scan(&file, &data); err != nil {
		return 0, err
	}
	if !filepath.IsAbs(file) {
		file = filepath.Join(data, file)
	}
	text, err := os.ReadFile(file) //nolint:gosec // the server's own
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, err
	}
	return pid, isProgram(pid, "mariadbd", "mysqld")
}

func (s *Site) redisPID(ctx context.Context) (int, error) {
	info, err := s.redis.Info(ctx, "server").Result()
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(info, "process_id:")
	text, _, _ := strings.Cut(rest, "\r\n")
	pid, err := strconv.Atoi(text)
	if err != nil {
		return 0, err
	}
	return pid, isProgram(pid, "redis-server")
}

// isProgram checks that a process is what the server says: an id from a container is another process's here.
func isProgram(pid int, names ...string) error {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return err
	}
	for _, name := range names {
		if bytes.Contains(line, []byte(name)) {
			return nil
		}
	}
	return fmt.Errorf("process %d is not %s", pid, strings.Join(names, " or "))
}

// processorTime is what this process has used so far.
func processorTime() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage) // it cannot fail with these arguments
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// ServerProcess counts a server's process and its children, those that have ended included: PostgreSQL has one for each
// connection.
func ServerProcess(name string, pid int) Process {
	return Process{name, func() (time.Duration, error) {
		sum, err := statTime(pid)
		if err != nil {
			return 0, err
		}
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
		words := bufio.NewScanner(bytes.NewReader(children))
		words.Split(bufio.ScanWords)
		for words.Scan() {
			child, err := strconv.Atoi(words.Text())
			if err != nil {
				return 0, err
			}
			// A child that has just ended is counted with its parent.
			used, _ := statTime(child)
			sum += used
		}
		return sum, nil
	}}
}

// MachineTime is what all processes of the machine have used so far, and what a hypervisor took from it. Without /proc
// it is 0.
func MachineTime() time.Duration {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	// user, nice, system, idle, iowait, irq, softirq, steal; the rest is in these.
	var ticks int64
	for i, field := range strings.Fields(line) {
		n, err := strconv.ParseInt(field, 10, 64)
		if idle := i == 4 || i == 5; err == nil && i <= 8 && !idle {
			ticks += n
		}
	}
	return time.Duration(ticks) * tick
}

// tick is the unit of times in /proc: 1/100 s wherever Go runs on Linux.
const tick = 10 * time.Millisecond

// statTime is utime, stime, cutime and cstime of a process, see proc(5).
func statTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The program's name, in parentheses, may hold anything.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	const utime, cstime = 14 - 3, 17 - 3 // fields are numbered from 1, and the state, the third, is our first
	if len(fields) <= cstime {
		return 0, fmt.Errorf("reading /proc/%d/stat: %q", pid, text)
	}
	var ticks int64
	for _, field := range fields[utime : cstime+1] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading /proc/%d/stat: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}
