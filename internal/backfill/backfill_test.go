package backfill_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certpurge/certpurge/internal/backfill"
	"github.com/certpurge/certpurge/internal/purge"
)

// numbers is a source of users 1 to n.
type numbers struct {
	n    int64
	name string
	fail error // behind the last
}

func (s numbers) Items(ctx context.Context, after int64) iter.Seq2[backfill.Item, error] {
	return func(yield func(backfill.Item, error) bool) {
		for n := after + 1; n <= s.n; n++ {
			user := purge.UserID(n)
			if !yield(backfill.Item{Submission: purge.Submission{User: user, Key: purge.DefaultKey(user)}, Position: n},
				ctx.Err()) || ctx.Err() != nil {
				return
			}
		}
		if s.fail != nil {
			yield(backfill.Item{}, s.fail)
		}
	}
}

func (s numbers) Fingerprint() string          { return "numbers " + s.name }
func (s numbers) Share(position int64) float64 { return float64(position) / float64(s.n) }

func sequence(from, to int) (all []int) {
	for n := from; n <= to; n++ {
		all = append(all, n)
	}
	return all
}

// desk takes submissions, and holds their tasks.
type desk struct {
	asked   []int
	batches []int
	when    []time.Time
	waiting int
	before  func() error // asked before each Accept
	after   func() error
}

func (d *desk) Accept(ctx context.Context, submissions []purge.Submission) ([]purge.Accepted, error) {
	if d.before != nil {
		if err := d.before(); err != nil {
			return nil, err
		}
	}
	var accepted []purge.Accepted
	for _, w := range submissions {
		d.asked = append(d.asked, int(w.User))
		accepted = append(accepted, purge.Accepted{
			Request: purge.RequestID(w.User), User: w.User, Found: purge.FoundNew,
			Open: true,
		})
	}
	d.waiting += len(submissions)
	d.batches, d.when = append(d.batches, len(submissions)), append(d.when, time.Now())
	if d.after != nil {
		if err := d.after(); err != nil {
			return accepted, err
		}
	}
	return accepted, ctx.Err()
}

func (d *desk) runner(source backfill.Source) *backfill.Runner {
	return &backfill.Runner{
		Source: source, Intake: d, Waiting: func(context.Context) (int, error) { return d.waiting, nil },
		HighWater: 1_000_000, Patience: time.Minute, Status: backfill.NewStatus(time.Now), Notice: func(string) {},
	}
}

func TestRunAsksForEverybodyInBatches(t *testing.T) {
	t.Parallel()
	d := &desk{}
	r := d.runner(numbers{n: 1234})
	told := 0
	r.Accepted = func(accepted []purge.Accepted) { told += len(accepted) }
	sum, err := r.Run(t.Context())
	want := backfill.Summary{Users: 1234, Found: map[purge.Found]int{purge.FoundNew: 1234}, Position: 1234, Complete: true}
	if diff := cmp.Diff(want, sum); err != nil || diff != "" || told != 1234 {
		t.Errorf("got %v, told of %d (-want +got):\n%s", err, told, diff)
	}
	if !slices.Equal(d.asked, sequence(1, 1234)) || !slices.Equal(d.batches, []int{500, 500, 234}) {
		t.Errorf("got batches %v", d.batches)
	}
	if s := r.Status.Now(); s.Users != 1234 || !s.Complete || s.Share != 1 {
		t.Errorf("got status %+v", s)
	}
	d = &desk{}
	if sum, err := d.runner(numbers{}).Run(t.Context()); err != nil || sum.Users != 0 || !sum.Complete ||
		len(d.batches) != 0 {
		t.Errorf("an empty source: got %+v, %v", sum, err)
	}
}

func TestTheCapEndsARunWithItsOwnError(t *testing.T) {
	t.Parallel()
	d := &desk{}
	r := d.runner(numbers{n: 1234})
	r.MaxUsers = 700
	if sum, err := r.Run(t.Context()); !errors.Is(err, backfill.ErrCapped) || sum.Users != 700 || sum.Complete ||
		len(d.asked) != 700 {
		t.Errorf("got %+v, %v", sum, err)
	}
	r = d.runner(numbers{n: 700})
	r.MaxUsers = 700
	if sum, err := r.Run(t.Context()); err != nil || sum.Users != 700 || !sum.Complete {
		t.Errorf("with no user left: got %+v, %v", sum, err)
	}
}

func TestTheRateIsKept(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		rate  float64
		users int64
		batch int
	}{{50, 1000, 50}, {5000, 20_000, 500}, {0.5, 10, 1}} {
		synctest.Test(t, func(t *testing.T) {
			d := &desk{}
			r := d.runner(numbers{n: tc.users})
			r.Rate = tc.rate
			begun := time.Now()
			if _, err := r.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			// The first batch goes at once.
			want := time.Duration(float64(tc.users-int64(tc.batch)) / tc.rate * float64(time.Second))
			if took := time.Since(begun); (took - want).Abs() > 100*time.Millisecond {
				t.Errorf("%v a second: %d users took %v, want %v", tc.rate, tc.users, took, want)
			}
			if slices.Max(d.batches) != tc.batch {
				t.Errorf("%v a second: got batches of %d, want %d", tc.rate, slices.Max(d.batches), tc.batch)
			}
		})
	}
}

func TestTheQueueNeverHoldsMoreThanTheHighWaterMark(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &desk{}
		r := d.runner(numbers{n: 5000})
		r.HighWater = 1200
		most, held, worked := 0, false, time.Now()
		r.Waiting = func(context.Context) (int, error) {
			most = max(most, d.waiting)
			held = held || r.Status.Now().Held
			for ; time.Since(worked) >= time.Second; worked = worked.Add(time.Second) {
				d.waiting -= min(d.waiting, 70) // the workers are slower
			}
			return d.waiting, nil
		}
		sum, err := r.Run(t.Context())
		if err != nil || sum.Users != 5000 || most > 1200 || most < 1100 || !held || r.Status.Now().Held {
			t.Errorf("got %+v, %v, at most %d waiting, held %v", sum, err, most, held)
		}
		if !slices.Equal(d.asked, sequence(1, 5000)) {
			t.Error("not each user once, in order")
		}
	})
}

func TestAnOutageIsWaitedOutAndSaidOnce(t *testing.T) {
	t.Parallel()
	away := &purge.Error{Class: purge.Unavailable, Text: "MySQL cannot be reached"}
	for name, tc := range map[string]struct {
		err     error
		outage  time.Duration
		ends    bool
		asked   int
		notices int
	}{
		"a while":          {away, 30 * time.Second, false, 1000, 1},
		"for ever":         {away, time.Hour, true, 500, 1},
		"Redis":            {fmt.Errorf("%w: connection refused", purge.ErrNotQueued), 20 * time.Second, false, 1000, 1},
		"misconfigured":    {&purge.Error{Class: purge.Misconfigured, Text: "no right"}, time.Hour, true, 500, 0},
		"a taken key":      {purge.ErrKeyTaken, time.Hour, true, 500, 0},
		"an unknown error": {errors.New("what is this"), 3 * time.Second, false, 1000, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := &desk{}
				over := time.Now().Add(tc.outage)
				d.before = func() error {
					if len(d.asked) == 500 && time.Now().Before(over) {
						return tc.err
					}
					return nil
				}
				r := d.runner(numbers{n: 1000})
				var notices []string
				r.Notice = func(text string) { notices = append(notices, text) }
				sum, err := r.Run(t.Context())
				if (err != nil) != tc.ends || tc.ends && !errors.Is(err, tc.err) || sum.Users != tc.asked ||
					len(notices) != tc.notices {
					t.Errorf("got %+v, %v, notices %q", sum, err, notices)
				}
			})
		})
	}
}

// TestAnswersOfTheFirstTryCount loses Redis after the ledger has accepted.
func TestAnswersOfTheFirstTryCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		r := (&desk{}).runner(numbers{n: 10})
		r.Intake = intakeFunc(func(_ context.Context, submissions []purge.Submission) ([]purge.Accepted, error) {
			tries++
			accepted := make([]purge.Accepted, len(submissions))
			for i, w := range submissions {
				accepted[i] = purge.Accepted{User: w.User, Found: purge.FoundNew, Open: true}
				if tries > 1 {
					accepted[i].Found = purge.Found(purge.Queued)
				}
			}
			if tries == 1 {
				return accepted, purge.ErrNotQueued
			}
			return accepted, nil
		})
		if sum, err := r.Run(t.Context()); err != nil || sum.Found[purge.FoundNew] != 10 || tries != 2 {
			t.Errorf("got %+v, %v after %d tries", sum, err, tries)
		}
	})
}

type intakeFunc func(context.Context, []purge.Submission) ([]purge.Accepted, error)

func (f intakeFunc) Accept(ctx context.Context, submissions []purge.Submission) ([]purge.Accepted, error) {
	return f(ctx, submissions)
}

func TestAStopFinishesTheBatchAndTheCheckpointGoesOnBehindIt(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "checkpoint")
	source := numbers{n: 2000}
	d := &desk{}
	ctx, cancel := context.WithCancel(t.Context())
	d.before = func() error {
		if len(d.asked) == 500 {
			cancel()
		}
		return nil
	}
	run := func(ctx context.Context) (backfill.Summary, error) {
		r := d.runner(source)
		var err error
		if r.Checkpoint, err = backfill.OpenCheckpoint(path, source); err != nil {
			t.Fatal(err)
		}
		return r.Run(ctx)
	}
	if sum, err := run(ctx); !errors.Is(err, context.Canceled) || sum.Users != 1000 || sum.Position != 1000 {
		t.Errorf("stopped: got %+v, %v", sum, err)
	}
	if sum, err := run(t.Context()); err != nil || sum.Users != 1000 || sum.Earlier != 1000 || !sum.Complete ||
		!slices.Equal(d.asked, sequence(1, 2000)) {
		t.Errorf("gone on: got %+v, %v", sum, err)
	}
	if sum, err := run(t.Context()); err != nil || sum.Users != 0 || sum.Earlier != 2000 || !sum.Complete ||
		len(d.asked) != 2000 {
		t.Errorf("when all is done: got %+v, %v", sum, err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("got %v, %v; want the checkpoint and nothing beside it", left, err)
	}
}

// TestASourceThatFailsKeepsWhatCameBefore is a pipe with a bad line.
func TestASourceThatFailsKeepsWhatCameBefore(t *testing.T) {
	t.Parallel()
	d := &desk{}
	broken := errors.New("line 701")
	if sum, err := d.runner(numbers{n: 700, fail: broken}).Run(t.Context()); !errors.Is(err, broken) || sum.Users != 700 ||
		sum.Complete {
		t.Errorf("got %+v, %v", sum, err)
	}
}

func TestWhatIsNoCheckpointOfThisSourceIsRefusedAndKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	other := filepath.Join(dir, "other")
	d := &desk{}
	r := d.runner(numbers{n: 3, name: "a"})
	var err error
	if r.Checkpoint, err = backfill.OpenCheckpoint(other, r.Source); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, tc := range map[string]struct{ path, want string }{
		"of another source": {other, "another backfill (numbers a), this one is of numbers b"},
		"empty":             {write("empty", ""), "no checkpoint"},
		"cut off":           {write("cut", `{"certpurge_checkpoint":1,"source":"numbers b"`), "no checkpoint"},
		"other JSON":        {write("json", `{"users":[1,2]}`), "no checkpoint"},
		"of a later time":   {write("later", `{"certpurge_checkpoint":2,"source":"numbers b"}`), "no checkpoint"},
		"negative": {
			write("negative", `{"certpurge_checkpoint":1,"source":"numbers b","position":-1}`),
			"no checkpoint",
		},
		"large":       {write("large", strings.Repeat(" ", 100_000)), "no checkpoint"},
		"a directory": {dir, "no checkpoint"},
	} {
		before, _ := os.ReadFile(tc.path) // a directory has no content
		if _, err := backfill.OpenCheckpoint(tc.path, numbers{name: "b"}); err == nil ||
			!strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v", name, err)
		}
		if after, _ := os.ReadFile(tc.path); string(after) != string(before) {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

func TestACheckpointThatCannotBeWrittenStopsTheRun(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	d := &desk{}
	r := d.runner(numbers{n: 2000})
	var err error
	if r.Checkpoint, err = backfill.OpenCheckpoint(filepath.Join(dir, "checkpoint"), r.Source); err != nil {
		t.Fatal(err)
	}
	d.after = func() error { return os.RemoveAll(dir) }
	if sum, err := r.Run(t.Context()); !errors.Is(err, fs.ErrNotExist) || sum.Users != 500 {
		t.Errorf("got %+v, %v; want it to stop behind the first batch", sum, err)
	}
	if sum, err := r.Run(t.Context()); !errors.Is(err, fs.ErrNotExist) || sum.Users != 0 || len(d.asked) != 500 {
		t.Errorf("from the start: got %+v, %v; want no user submitted", sum, err)
	}
}

func TestStatusEstimatesWhatIsLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &desk{}
		r := d.runner(numbers{n: 1000})
		r.Rate = 10
		if got := r.Status.Now(); got.Remaining() >= 0 || got.Rate() != 0 || got.Part() >= 0 {
			t.Errorf("at the start: got %v", got.Remaining())
		}
		d.after = func() error {
			if len(d.asked) == 260 { // one more batch than 25 seconds make is on its way
				got := r.Status.Now()
				if left := got.Remaining().Round(time.Second); got.Users != 250 || left != 75*time.Second {
					t.Errorf("after a quarter: got %+v, %v left", got, left)
				}
			}
			return nil
		}
		if _, err := r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestAnswersAreThoseOfTheFirstTry: the ledger fails behind a part of a batch, and the next try finds that part queued.
func TestAnswersAreThoseOfTheFirstTry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &desk{}
		r := d.runner(numbers{n: 1000})
		r.Batch = 1000
		tries := 0
		r.Intake = intakeFunc(func(_ context.Context, submissions []purge.Submission) ([]purge.Accepted, error) {
			tries++
			accepted := make([]purge.Accepted, len(submissions))
			for i, w := range submissions {
				accepted[i] = purge.Accepted{User: w.User, Found: purge.FoundNew, Open: true}
				if tries > 1 && i < 500 {
					accepted[i].Found = "queued"
				}
			}
			switch tries {
			case 1:
				return accepted[:500], &purge.Error{Class: purge.Unavailable, Text: "away"}
			case 2:
				return nil, &purge.Error{Class: purge.Unavailable, Text: "away"}
			default:
				return accepted, nil
			}
		})
		sum, err := r.Run(t.Context())
		if err != nil || tries != 3 || sum.Found[purge.FoundNew] != 1000 || len(sum.Found) != 1 {
			t.Errorf("got %+v, %v after %d tries; want 1000 new", sum, err, tries)
		}
	})
}
