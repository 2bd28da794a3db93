package main

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue/presence"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// TestWaitingSaysWhyNoTaskIsTaken waits with --wait while the worker pulls, is paused, and is gone.
func TestWaitingSaysWhyNoTaskIsTaken(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	id := p.db.AddRetiringUser(t, "Alice", "RETIRING_LMS")
	user := strconv.Itoa(id)
	wait := func(situation string, want ...string) {
		t.Helper()
		_, said := p.run(cli.ExitTimeout, "enqueue", user, "--wait", "--timeout", "1s")
		if (len(want) > 0) != strings.Contains(said, "waiting:") {
			t.Errorf("%s: it says %q", situation, said)
		}
		for _, part := range want {
			if strings.Count(said, part) != 1 {
				t.Errorf("%s: it says %q, want %q once", situation, said, part)
			}
		}
	}
	wait("it pulls")
	p.worker.Set(presence.Paused, "MySQL is read-only")
	p.awaitWorker(presence.Paused)
	wait("it is paused", "waiting: no worker pulls tasks", "is paused since", "MySQL is read-only")
	p.stop()
	wait("it is gone", "waiting: no worker is running")
	p.end(id, purge.Report{State: purge.Done})
	if _, said := p.run(cli.ExitOK, "enqueue", user, "--wait"); said != "" {
		t.Errorf("nothing is waited for, and it says %q", said)
	}
}

// TestABackfillSaysWhyNoTaskIsTaken follows a backfill while there is no worker, and until there is one.
func TestABackfillSaysWhyNoTaskIsTaken(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.addDue(2)
	p.stop()
	var said sandboxtest.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	code := make(chan int, 1)
	root := newCommand(cli.Streams{Out: &said, Err: &said, Environ: p.environ})
	go func() {
		code <- cli.Run(ctx, root, []string{"backfill", "--retired", "--execute", "--wait"}, &said)
	}()
	says := func(text string) {
		t.Helper()
		sandboxtest.Eventually(t, "it says "+text, func() bool { return strings.Contains(said.String(), text) })
	}
	says("waiting: no worker is running\n")
	p.useRedis(strings.TrimPrefix(p.environ[2], "CERTPURGE_REDIS_URL=")) // a worker comes
	says("tasks are taken again\n")
	cancel()
	if got := sandboxtest.Receive(t, "it ends", code); got != cli.ExitInterrupted {
		t.Errorf("got exit code %d", got)
	}
}
