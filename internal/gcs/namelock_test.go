package gcs_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/gcs"
	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
)

// generations stores n generations of one object.
func (b *bubble) generations(n int) []purge.Generation {
	b.t.Helper()
	if err := b.server.UpdateBucket(purgetest.Bucket, func(c *gcstest.BucketConfig) { c.Versioning = true }); err != nil {
		b.t.Fatal(err)
	}
	for range n {
		if _, err := b.server.Put(purgetest.Bucket, dirD.Prefix+"Certificate.pdf", []byte("%PDF"),
			gcstest.ObjectOptions{}); err != nil {
			b.t.Fatal(err)
		}
	}
	all, err := b.List(b.t.Context(), dirD)
	if err != nil || len(all) != n {
		b.t.Fatalf("got %d generations, %v", len(all), err)
	}
	return all
}

func TestGenerationsOfOneObjectAreDeletedOneAfterTheOther(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		t.Helper()
		const latency = 100 * time.Millisecond
		same, others := b.generations(12), b.put(12)
		b.server.SetFaults(1, gcstest.Fault{Op: gcstest.OpDelete, Latency: latency})
		var mu sync.Mutex
		last := map[string]time.Time{}
		b.server.SetHook(func(op, _, name string) {
			mu.Lock()
			defer mu.Unlock()
			if now := time.Now(); op == gcstest.OpDelete {
				if now.Sub(last[name]) < latency {
					t.Errorf("two deletes of %s at once", name)
				}
				last[name] = now
			}
		})
		begun := time.Now()
		for _, err := range b.deleteAll(append(same, others...)) {
			if err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(begun); took != 12*latency {
			t.Errorf("took %v, want %v: one object's generations in a row, other objects beside them", took, 12*latency)
		}
		if stats := b.deletes(); stats.Waiting != 0 {
			t.Errorf("got %+v", stats)
		}
	})
}

func TestAnObjectsOwnLimitDoesNotSlowTheBucketDown(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		t.Helper()
		all := b.generations(30)
		b.server.SetFaults(1, gcstest.Fault{Op: gcstest.OpDelete, Rate: 1, PerObject: true})
		begun := time.Now()
		for _, err := range b.deleteAll(all) {
			if err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(begun); took < 29*time.Second || took > 40*time.Second {
			t.Errorf("took %v, want about one second for each", took)
		}
		if stats := b.deletes(); stats.Halved != 0 || stats.Throttled < 1 || stats.Throttled > 10 {
			t.Errorf("got %+v, want few refusals, and the bucket's rate left alone", stats)
		}
	})
}

func TestAStoppedQueueBeforeAnObjectIsLeft(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		t.Helper()
		all := b.generations(2)
		b.server.SetFaults(1, gcstest.Fault{Op: gcstest.OpDelete, Latency: 10 * time.Second})
		stop := make(chan struct{})
		ctx := purge.WithStop(t.Context(), stop)
		var first error
		var deleting sync.WaitGroup
		deleting.Go(func() { first = b.Delete(ctx, all[0]) })
		pause(time.Second)
		time.AfterFunc(time.Second, func() { close(stop) })
		begun := time.Now()
		if err := b.Delete(ctx, all[1]); purge.ClassOf(err) != purge.Stopped || time.Since(begun) != time.Second {
			t.Errorf("got %v after %v, want it stopped when told", err, time.Since(begun))
		}
		if deleting.Wait(); first != nil {
			t.Errorf("the delete under way: %v, want it to end", first)
		}
		if err := b.Delete(t.Context(), all[1]); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// TestTwoUsersWhoShareADirectory is what a restored backup or a copied row can lead to: both references go, and no one
// fails.
func TestTwoUsersWhoShareADirectory(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		t.Helper()
		for n := range 4 {
			if _, err := b.server.Put(purgetest.Bucket, fmt.Sprintf("%s%d.pdf", dirD.Prefix, n), []byte("%PDF"),
				gcstest.ObjectOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		b.server.SetFaults(1, gcstest.Fault{Latency: 40 * time.Millisecond, Jitter: 40 * time.Millisecond})
		other, err := gcs.Open(t.Context(), b.cfg) // another process
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		var purging sync.WaitGroup
		for i, objects := range []*gcs.Store{b.Store, b.Store, other} {
			user := b.store.NewUser(purgetest.Retiring)
			b.store.NewReference(user, purge.Live, strings.TrimSuffix(strings.TrimPrefix(dirD.Prefix, "downloads/"), "/"), "",
				"")
			accepted, err := b.store.Accept(t.Context(), []purge.Submission{{User: user, Key: purge.DefaultKey(user)}})
			if err != nil {
				t.Fatal(err)
			}
			purger := purge.Purger{
				Users: b.store, Ledger: b.store, Objects: objects, Locations: b.cfg.Locations,
				Policy: purge.Policy{ClearHistory: true, AcceptShared: true, MaxAttempts: 1},
			}
			purging.Go(func() {
				result, err := purger.Purge(t.Context(), purge.Task{Request: accepted[0].Request, User: user})
				if err != nil || result.State != purge.Done || result.Counts.ReferencesCleared != 1 {
					t.Errorf("user %d: got %+v, %v", i, result, err)
				}
			})
		}
		purging.Wait()
		if left := len(b.server.Objects(purgetest.Bucket, "")); left > 0 {
			t.Errorf("%d objects left", left)
		}
	})
}
