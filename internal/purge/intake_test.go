package purge_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
)

// desk is a ledger and a queue that watch each other: a task may come only when its request is in the ledger.
type desk struct {
	t     *testing.T
	store *purgetest.FakeStore

	// ledger and queue, if set, are called before the n-th call does its work.
	ledger func(ctx context.Context, n int, submissions []purge.Submission) error
	queue  func(ctx context.Context, n int, tasks []purge.Task) error

	mu      sync.Mutex
	batches [][]purge.Submission
	sent    int
	durable map[purge.RequestID]bool
	tasks   []purge.Task
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	return &desk{t: t, store: purgetest.NewFakeStore(), durable: map[purge.RequestID]bool{}}
}

func (d *desk) intake() purge.Intake { return purge.Intake{Requests: d, Tasks: d} }

// Accept implements purge.Requests.
func (d *desk) Accept(ctx context.Context, submissions []purge.Submission) ([]purge.Accepted, error) {
	d.mu.Lock()
	d.batches = append(d.batches, submissions)
	n := len(d.batches)
	d.mu.Unlock()
	if d.ledger != nil {
		if err := d.ledger(ctx, n, submissions); err != nil {
			return nil, err
		}
	}
	accepted, err := d.store.Accept(ctx, submissions)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range accepted {
		d.durable[a.Request] = true
	}
	return accepted, err
}

// Enqueue implements purge.Tasks.
func (d *desk) Enqueue(ctx context.Context, tasks []purge.Task) error {
	d.mu.Lock()
	d.sent++
	n := d.sent
	for _, task := range tasks {
		if !d.durable[task.Request] {
			d.t.Errorf("the task of request %d came before the request was in the ledger", task.Request)
		}
	}
	d.mu.Unlock()
	if d.queue != nil {
		if err := d.queue(ctx, n, tasks); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tasks = append(d.tasks, tasks...)
	return nil
}

// submissionsOf makes a submission for each of the users first to last.
func submissionsOf(first, last purge.UserID) []purge.Submission {
	var submissions []purge.Submission
	for user := first; user <= last; user++ {
		submissions = append(submissions, purge.Submission{User: user, Key: purge.DefaultKey(user), Source: purge.SourceAPI})
	}
	return submissions
}

// expectOwn asserts that the answers are those to the submissions.
func expectOwn(t *testing.T, submissions []purge.Submission, got []purge.Accepted) {
	t.Helper()
	if len(got) != len(submissions) {
		t.Fatalf("got %d answers to %d submissions", len(got), len(submissions))
	}
	for i, a := range got {
		if a.User != submissions[i].User || a.Request == 0 {
			t.Errorf("submission %d of user %d: got %+v", i, submissions[i].User, a)
		}
	}
}

func TestIntakeWritesTheLedgerBeforeTheQueue(t *testing.T) {
	t.Parallel()
	d, down := newDesk(t), errors.New("redis is down")
	d.queue = func(context.Context, int, []purge.Task) error { return down }
	submissions := submissionsOf(1, 2)
	accepted, err := d.intake().Accept(t.Context(), submissions)
	if !errors.Is(err, purge.ErrNotQueued) || !errors.Is(err, down) || len(accepted) != 2 {
		t.Fatalf("got %v, %v; want the answers and ErrNotQueued", accepted, err)
	}
	if e, ok := errors.AsType[*purge.NotQueuedError](err); !ok || len(e.Requests) != 2 {
		t.Errorf("got %v, want both requests named", err)
	}
	d.queue = nil
	accepted, err = d.intake().Accept(t.Context(), submissions)
	if err != nil || accepted[0].Found != "queued" || len(d.tasks) != 2 {
		t.Errorf("got %v, %v, tasks %v; want the same requests queued", accepted, err, d.tasks)
	}
	d.ledger = func(context.Context, int, []purge.Submission) error { return errInjected }
	if accepted, err := d.intake().Accept(t.Context(), submissionsOf(3, 4)); !errors.Is(err, errInjected) ||
		accepted != nil || len(d.tasks) != 2 {
		t.Errorf("got %v, %v and tasks %v; want an error and no task without a ledger row", accepted, err, d.tasks)
	}
}

// TestAQueueThatIsAwayKeepsNobodyOutOfTheLedger: the queue fails at the second of four batches.
func TestAQueueThatIsAwayKeepsNobodyOutOfTheLedger(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.queue = func(_ context.Context, n int, tasks []purge.Task) error {
		if n == 1 {
			return nil
		}
		return &purge.NotQueuedError{Requests: []purge.RequestID{tasks[7].Request}, Cause: errInjected}
	}
	submissions := submissionsOf(1, 1703)
	accepted, err := d.intake().Accept(t.Context(), submissions)
	expectOwn(t, submissions, accepted)
	e, ok := errors.AsType[*purge.NotQueuedError](err)
	if !ok || !errors.Is(err, purge.ErrNotQueued) || !errors.Is(err, errInjected) || d.sent != 2 {
		t.Fatalf("got %v after %d batches in the queue, want ErrNotQueued after two", err, d.sent)
	}
	want := []purge.RequestID{508} // of the second batch the queue has named one; the third and fourth were not tried
	for id := purge.RequestID(1001); id <= 1703; id++ {
		want = append(want, id)
	}
	if !slices.Equal(e.Requests, want) {
		t.Errorf("got %d requests from %d to %d not queued, want 508 and 1001 to 1703", len(e.Requests), e.Requests[0],
			e.Requests[len(e.Requests)-1])
	}
	// the rest of the second call
	d.ledger = func(_ context.Context, n int, _ []purge.Submission) error { return onlyAt(n, 2*4) }
	d.sent = 0
	accepted, err = d.intake().Accept(t.Context(), submissions)
	if errors.Is(err, purge.ErrNotQueued) || !errors.Is(err, errInjected) || len(accepted) != 1500 {
		t.Errorf("when the ledger fails too: got %d answers, %v", len(accepted), err)
	}
}

func TestIntakeQueuesOneTaskForARequest(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	submissions := append(submissionsOf(1, 2), submissionsOf(1, 2)...)
	accepted, err := d.intake().Accept(t.Context(), submissions)
	if err != nil || len(d.tasks) != 2 {
		t.Errorf("got tasks %v, %v; want two", d.tasks, err)
	}
	expectOwn(t, submissions, accepted)
}

// TestIntakeOverlapsLedgerAndQueue: each batch but the last waits in the queue until the next is being written into the
// ledger. One after the other, that would be for ever.
func TestIntakeOverlapsLedgerAndQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const batches = 5
		d := newDesk(t)
		writing := make([]chan struct{}, batches+1)
		for n := range writing {
			writing[n] = make(chan struct{})
		}
		close(writing[batches])
		d.ledger = func(_ context.Context, n int, _ []purge.Submission) error {
			close(writing[n-1])
			return nil
		}
		d.queue = func(_ context.Context, n int, _ []purge.Task) error {
			<-writing[n]
			return nil
		}
		submissions := submissionsOf(1, (batches-1)*purge.MaxBatch+100)
		accepted, err := d.intake().Accept(t.Context(), submissions)
		if err != nil || len(d.batches) != batches || len(d.tasks) != len(submissions) {
			t.Errorf("got %d batches, %d tasks, %v", len(d.batches), len(d.tasks), err)
		}
		expectOwn(t, submissions, accepted)
	})
}

// TestStreamAnswersWhatIsSafe checks a stream whose queue or ledger fails at the third batch of five.
func TestStreamAnswersWhatIsSafe(t *testing.T) {
	t.Parallel()
	const third = 3
	batches := slices.Values([][]purge.Submission{
		submissionsOf(1, 2), submissionsOf(3, 4), submissionsOf(5, 6),
		submissionsOf(7, 8), submissionsOf(9, 10),
	})
	for name, tc := range map[string]struct {
		break_         func(*desk)
		queued, unsafe int // answers with nil, and with ErrNotQueued
		is             error
	}{
		"nothing fails": {break_: func(*desk) {}, queued: 5},
		"the ledger": {break_: func(d *desk) {
			d.ledger = func(_ context.Context, n int, _ []purge.Submission) error { return onlyAt(n, third) }
		}, queued: 2, is: errInjected},
		// The fourth is in the ledger already.
		"the queue": {break_: func(d *desk) {
			d.queue = func(_ context.Context, n int, _ []purge.Task) error { return onlyAt(n, third) }
		}, queued: 2, unsafe: 2, is: purge.ErrNotQueued},
		"the queue, and then the ledger": {break_: func(d *desk) {
			d.queue = func(_ context.Context, n int, _ []purge.Task) error { return onlyAt(n, third) }
			d.ledger = func(_ context.Context, n int, _ []purge.Submission) error { return onlyAt(n, third+1) }
		}, queued: 2, unsafe: 1, is: purge.ErrNotQueued},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			tc.break_(d)
			queued, unsafe, last := 0, 0, purge.UserID(0)
			err := d.intake().Stream(t.Context(), batches, func(accepted []purge.Accepted, err error) error {
				for _, a := range accepted {
					if a.User != last+1 {
						t.Errorf("user %d is answered after user %d", a.User, last)
					}
					last = a.User
				}
				switch {
				case err == nil && unsafe == 0:
					queued++
				case errors.Is(err, purge.ErrNotQueued):
					unsafe++
				default:
					t.Errorf("got an answer with %v", err)
				}
				return err
			})
			if !errors.Is(err, tc.is) || queued != tc.queued || unsafe != tc.unsafe {
				t.Errorf("got %d queued, %d unsafe, %v; want %d, %d, %v", queued, unsafe, err, tc.queued, tc.unsafe, tc.is)
			}
		})
	}
}

func onlyAt(n, at int) error {
	if n == at {
		return errInjected
	}
	return nil
}

func TestStreamEndsWithTheAnswered(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	batches := func(yield func([]purge.Submission) bool) {
		for n := purge.UserID(1); yield(submissionsOf(n, n)); n++ {
			if n > 10 {
				t.Error("requested more after the end")
				return
			}
		}
	}
	full := errors.New("the disk with the checkpoint is full")
	err := d.intake().Stream(t.Context(), batches, func(accepted []purge.Accepted, _ error) error {
		if accepted[0].User == 3 {
			return full
		}
		return nil
	})
	if !errors.Is(err, full) {
		t.Errorf("got %v, want %v", err, full)
	}
}

func TestIntakeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	ctx, cancel := context.WithCancel(t.Context())
	d.ledger = func(_ context.Context, n int, _ []purge.Submission) error {
		if n == 2 {
			cancel()
		}
		return nil
	}
	if _, err := d.intake().Accept(ctx, submissionsOf(1, 5000)); !errors.Is(err, context.Canceled) || len(d.batches) != 2 {
		t.Errorf("got %v after %d batches, want it cancelled in the second", err, len(d.batches))
	}
}

// ExampleIntake_Stream writes down how far it has come.
func ExampleIntake_Stream() {
	store, tasks := purgetest.NewFakeStore(), new(countedTasks)
	intake := purge.Intake{Requests: store, Tasks: tasks}
	batches := slices.Chunk(submissionsOf(1, 1203), purge.MaxBatch)
	err := intake.Stream(context.Background(), batches, func(accepted []purge.Accepted, err error) error {
		if err == nil {
			fmt.Println("up to user", accepted[len(accepted)-1].User)
		}
		return err
	})
	fmt.Println(*tasks, "tasks,", err)
	// Output:
	// up to user 500
	// up to user 1000
	// up to user 1203
	// 1203 tasks, <nil>
}

type countedTasks int

func (c *countedTasks) Enqueue(_ context.Context, tasks []purge.Task) error {
	*c += countedTasks(len(tasks))
	return nil
}

func TestOnBehalf(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", 100)
	for _, tc := range [][3]string{
		{"cli, alice@ops", "", "cli, alice@ops"},
		{"cli, alice@ops", "bob", "cli, alice@ops for bob"},
		{"cli, " + long, strings.Repeat("b", 64), "cli, " + strings.Repeat("ä", 43) + " for " + strings.Repeat("b", 64)},
	} {
		if got := purge.OnBehalf(tc[0], tc[1]); got != tc[2] || len(got) > 160 {
			t.Errorf("%s for %q: got %q of %d bytes, want %q", tc[0], tc[1], got, len(got), tc[2])
		}
	}
}

// TestIntakeSaysWhoAsks of submissions that do not say it themselves.
func TestIntakeSaysWhoAsks(t *testing.T) {
	t.Parallel()
	var got []purge.Submission
	intake := purge.Intake{By: "backfill, alice@ops", Ticket: "PRIV-1", Tasks: noTasks{}, Requests: acceptFunc(
		func(_ context.Context, submissions []purge.Submission) ([]purge.Accepted, error) {
			got = submissions
			return make([]purge.Accepted, len(submissions)), nil
		})}
	given := []purge.Submission{{User: 1}, {User: 2, By: "bob", Ticket: "T2"}}
	if _, err := intake.Accept(t.Context(), given); err != nil {
		t.Fatal(err)
	}
	want := []purge.Submission{
		{User: 1, By: "backfill, alice@ops", Ticket: "PRIV-1"}, {User: 2, By: "bob", Ticket: "T2"},
	}
	if !slices.Equal(got, want) || given[0].By != "" {
		t.Errorf("got %+v of %+v, want %+v", got, given, want)
	}
}

type noTasks struct{}

func (noTasks) Enqueue(context.Context, []purge.Task) error { return nil }

type acceptFunc func(context.Context, []purge.Submission) ([]purge.Accepted, error)

func (f acceptFunc) Accept(ctx context.Context, submissions []purge.Submission) ([]purge.Accepted, error) {
	return f(ctx, submissions)
}
