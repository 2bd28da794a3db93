package purge_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
)

// slowUsers takes its time to read a user.
type slowUsers struct {
	*purgetest.FakeStore
	takes time.Duration
}

func (u slowUsers) User(ctx context.Context, id purge.UserID) (purge.User, error) {
	<-time.After(u.takes) // by the bubble's clock
	return u.FakeStore.User(ctx, id)
}

// TestALongAttemptKeepsItsLease: a duplicate of its task, claimed much later, does not take it for dead.
func TestALongAttemptKeepsItsLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := purgetest.NewFakeStore()
		user := store.NewUser(purgetest.Retiring)
		accepted, err := store.Accept(t.Context(), []purge.Submission{{User: user, Key: "k"}})
		if err != nil {
			t.Fatal(err)
		}
		task := purge.Task{Request: accepted[0].Request, User: user}
		p := &purge.Purger{
			Users: slowUsers{store, 10 * purge.LeaseDuration}, Ledger: store, Policy: purge.Policy{MaxAttempts: 3},
			Now: time.Now,
		}
		done := make(chan error, 1)
		go func() {
			_, err := p.Purge(t.Context(), task)
			done <- err
		}()
		<-time.After(9 * purge.LeaseDuration)
		duplicate, err := store.Begin(t.Context(), task)
		if err != nil || duplicate.Lapsed != 0 {
			t.Errorf("a duplicate while the attempt is at work: got %+v, %v; want none lapsed", duplicate, err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		synctest.Wait() // whatever is still at work would make Test fail
	})
}
