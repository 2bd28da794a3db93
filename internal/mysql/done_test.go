package mysql_test

import (
	"sync"
	"testing"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
)

// TestDoneFindsARequestThatOthersMove records that a user is done while other attempts claim the request and put it back: with every claim
// and every return its entry moves in the index by which it is found.
func TestDoneFindsARequestThatOthersMove(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	const rounds = 200
	recordedAtOnce := 0
	for round := range rounds {
		user := f.NewUser(purgetest.Retiring)
		ref := f.NewReference(user, purge.Live, idD, idV, "")
		accepted := must(f.Accept(t.Context(), []purge.Wish{{User: user, Key: purge.DefaultKey(user), Source: purge.SourceCLI}}))
		task := purge.Task{Request: accepted[0].Request, User: user}
		attempt := must(f.Begin(t.Context(), task))
		stop := make(chan struct{})
		var others sync.WaitGroup
		for range 2 {
			others.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if a, err := f.Begin(t.Context(), task); err == nil && a.Number > 0 {
						_, _ = f.Record(t.Context(), a, purge.Report{State: purge.Queued, Reason: purge.ReasonTransient})
					}
				}
			})
		}
		report := purge.Report{
			State: purge.Done, Certificates: 1,
			Clear: []purge.Clearing{{CertificateID: ref.CertificateID, Table: purge.Live, References: []purge.Reference{ref}}},
		}
		recorded, err := f.Record(t.Context(), attempt, report)
		close(stop)
		others.Wait()
		if err != nil && purge.ClassOf(err) == purge.Transient {
			continue // a deadlock: nothing was written, and it is tried again
		}
		if err != nil || recorded.State != purge.Done || recorded.Counts.Certificates != 1 {
			t.Fatalf("round %d: got %+v, %v; want done", round, recorded, err)
		}
		recordedAtOnce++
	}
	if recordedAtOnce < rounds/2 {
		t.Errorf("only %d of %d were written: the test shows little", recordedAtOnce, rounds)
	}
}
