package chaos

import (
	"bytes"
	"context"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// doneTask returns the id of the task that a command reports as done; ok is false for every other command.
//
// asynq v0.26.0 reports it by a script (internal/rdb: Done, MarkAsComplete) with these keys, of which "completed" is
// there only if the task is retained, and the last one only if it is unique:
//
//	asynq:{QUEUE}:active  :lease  [:completed]  :t:ID  :processed:DATE  :processed  [:unique:…]
//
// and with the id as its first argument. The scripts for a retry and for the archive begin with the task's key, and the
// one that hands a task back counts nothing as processed.
func doneTask(args [][]byte) (id string, ok bool) {
	if len(args) < 3 || !bytes.EqualFold(args[0], []byte("EVALSHA")) && !bytes.EqualFold(args[0], []byte("EVAL")) {
		return "", false
	}
	count, err := strconv.Atoi(string(args[2]))
	if err != nil || count < 5 || len(args) <= 3+count {
		return "", false
	}
	keys, id := args[3:3+count], string(args[3+count])
	queue, ok := strings.CutSuffix(string(keys[0]), ":active")
	if !ok || string(keys[1]) != queue+":lease" {
		return "", false
	}
	rest := keys[2:]
	if string(rest[0]) == queue+":completed" {
		rest = rest[1:]
	}
	return id, len(rest) >= 3 && string(rest[0]) == queue+":t:"+id &&
		bytes.HasPrefix(rest[1], []byte(queue+":processed:")) && string(rest[2]) == queue+":processed"
}

// strike is called with a command that reports a task as done. It has to forward it, sooner or later.
type strike func(id string, forward func())

// atDone lets strike meet the next command that reports a task as done; nil lets nothing meet it any more. It reports
// whether the one before is taken back: false means that it has struck, or does so right now.
func (p *proxy) atDone(s strike) (takenBack bool) {
	if s == nil {
		return p.aimed.Swap(nil) != nil
	}
	return p.aimed.Swap(&s) != nil
}

// struck hands a command to the fault that waits for it, and reports false if none does.
func (p *proxy) struck(args [][]byte, forward func()) bool {
	if p.aimed.Load() == nil { // as nearly always
		return false
	}
	id, ok := doneTask(args)
	if !ok {
		return false
	}
	s := p.aimed.Swap(nil)
	if s == nil {
		return false
	}
	(*s)(id, forward)
	return true
}

const (
	// standstill is what the client waits for an answer, and a little.
	standstill = 3200 * time.Millisecond
	// lateStop is the chance of a stop right behind the command instead of right before it.
	lateStop = 0.3
)

// stopAtDone makes the server stand still at the very moment at which a worker reports a task as done: the purge is
// over, and asynq, which learns nothing of it for 3 s, may run the task again.
func stopAtDone(ctx context.Context, e *episode) error {
	server := e.env.Servers.Redis
	return e.repeatedly(ctx, 50*time.Millisecond, time.Second, func() error {
		stopped := make(chan error, 1)
		late := e.rng.chance(lateStop)
		e.proxy.atDone(func(_ string, forward func()) {
			if late {
				forward()
			}
			stopped <- server.Signal(syscall.SIGSTOP)
			if !late {
				forward()
			}
		})
		var err error
		select {
		case err = <-stopped:
		case <-ctx.Done():
			if e.proxy.atDone(nil) {
				return nil // nothing was done in time
			}
			err = <-stopped
		}
		if err != nil {
			return err
		}
		e.hit()
		purge.Sleep(context.WithoutCancel(ctx), standstill)
		return server.Signal(syscall.SIGCONT)
	})
}
