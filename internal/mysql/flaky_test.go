package mysql_test

import (
	"context"
	"sync"
	"testing"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
)

// flaky is the store with a connection that breaks at one call: before the server hears of it, or after it has done it.
type flaky struct {
	*mysql.Store
	mu        sync.Mutex
	calls, at int
	after     bool
}

var errBroken = &purge.Error{Class: purge.Transient, Text: "connection broken"}

// broken counts a call, and says whether it is the one; done tells the moment after the work from the one before.
func (f *flaky) broken(done bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !done {
		f.calls++
	}
	return f.calls == f.at && done == f.after
}

func call[T any](f *flaky, do func() (T, error)) (T, error) {
	var none T
	if f.broken(false) {
		return none, errBroken
	}
	result, err := do()
	if f.broken(true) {
		return none, errBroken
	}
	return result, err
}

func (f *flaky) User(ctx context.Context, id purge.UserID) (purge.User, error) {
	return call(f, func() (purge.User, error) { return f.Store.User(ctx, id) })
}

func (f *flaky) Sharing(ctx context.Context, user purge.UserID, ids []string) ([]purge.Shared, error) {
	return call(f, func() ([]purge.Shared, error) { return f.Store.Sharing(ctx, user, ids) })
}

func (f *flaky) Begin(ctx context.Context, task purge.Task) (purge.Attempt, error) {
	return call(f, func() (purge.Attempt, error) { return f.Store.Begin(ctx, task) })
}

func (f *flaky) Intend(
	ctx context.Context, a purge.Attempt, intents []purge.Evidence, empty []purge.Directory,
) (purge.Intended, error) {
	return call(f, func() (purge.Intended, error) { return f.Store.Intend(ctx, a, intents, empty) })
}

func (f *flaky) Record(ctx context.Context, a purge.Attempt, r purge.Report) (purge.Recorded, error) {
	return call(f, func() (purge.Recorded, error) { return f.Store.Record(ctx, a, r) })
}

// TestAConnectionThatBreaksAtAnyCall purges on a real server, with each call to it lost in turn, and then again, two at
// a time, until it is done. The lost answer of a commit is among them.
func TestAConnectionThatBreaksAtAnyCall(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.Mixed)
	const calls = 4
	for at := 1; at <= calls; at++ {
		for _, after := range []bool{false, true} {
			user := f.NewUser(purgetest.Retiring)
			cloud := purgetest.NewCloud()
			download, verify := storeFour(cloud, user)
			f.NewReference(user, purge.Live, download, verify, "")
			f.NewReference(user, purge.History, download, verify, "")
			accepted, err := f.Accept(t.Context(), []purge.Submission{{
				User: user, Key: purge.DefaultKey(user),
				Source: purge.SourceCLI,
			}})
			if err != nil {
				t.Fatal(err)
			}
			store := &flaky{Store: f.Store, at: at, after: after}
			purger := &purge.Purger{
				Users: store, Ledger: store, Objects: cloud, Locations: purgetest.OneLocation(t),
				Policy: purge.Policy{ClearHistory: true, MaxAttempts: 9},
			}
			task := purge.Task{Request: accepted[0].Request, User: user}
			if _, err := purger.Purge(t.Context(), task); err == nil {
				t.Errorf("call %d, after %v: got no error from a broken connection", at, after)
			}
			if refs := must(f.User(t.Context(), user)).References; len(refs) == 0 && len(cloud.Stored()) > 0 {
				t.Errorf("call %d, after %v: references are cleared, %v is stored", at, after, cloud.Stored())
			}
			var both sync.WaitGroup
			for range 2 {
				both.Go(func() {
					if _, err := purger.Purge(t.Context(), task); err != nil && purge.ClassOf(err) != purge.Transient {
						t.Errorf("call %d, after %v: %v", at, after, err)
					}
				})
			}
			both.Wait()
			result, err := purger.Purge(t.Context(), task)
			want := purge.Counts{Certificates: 2, ObjectsErased: 4, ReferencesCleared: 2}
			if err != nil || result.State != purge.Done || result.Counts != want ||
				len(must(f.User(t.Context(), user)).References) > 0 {
				t.Errorf("call %d, after %v: got %+v, %v; want done %+v", at, after, result, err, want)
			}
		}
	}
}

// must drops an error that the values compared next would show.
func must[T any](v T, _ error) T { return v }
