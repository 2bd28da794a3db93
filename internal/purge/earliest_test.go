package purge_test

import (
	"errors"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
)

// TestTheEarliestDateIsWaitedFor: at least one file can go as soon as it may, in whatever order they were met.
func TestTheEarliestDateIsWaitedFor(t *testing.T) {
	t.Parallel()
	cloud := purgetest.NewCloud()
	files := purgetest.FourFiles()
	earliest := cloud.Now().Add(24 * time.Hour).Truncate(time.Second)
	for i, days := range []int{3, 1, 4, 2} {
		cloud.Put(files[i])
		cloud.Lock(files[i], earliest.Add(time.Duration(days-1)*24*time.Hour))
	}
	store := purgetest.NewFakeStore()
	user := store.NewUser(purgetest.Retiring)
	store.NewReference(user, purge.Live, purgetest.DownloadID, purgetest.VerifyID, "")
	if _, err := store.Accept(t.Context(), []purge.Submission{{User: user, Key: "k"}}); err != nil {
		t.Fatal(err)
	}
	purger := purge.Purger{
		Users: store, Ledger: store, Objects: cloud, Locations: purgetest.OneLocation(t),
		Policy: purge.Policy{ClearHistory: true, MaxAttempts: 1},
	}
	_, err := purger.Purge(t.Context(), purge.Task{Request: 1, User: user})
	if e, ok := errors.AsType[*purge.Error](err); !ok || e.Class != purge.Retained || !e.Until.Equal(earliest) {
		t.Errorf("got %+v; want it retained until %v, the earliest date", err, earliest)
	}
}
