package mysql_test

import (
	"testing"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// TestDoneFindsARequestThatIsPutBackMeanwhile records that a user is done while another attempt puts the request back: its
// entry moves in the index by user and state behind the place that a scan has come to. A later request of the user, which is
// locked, holds a scan there.
func TestDoneFindsARequestThatIsPutBackMeanwhile(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	requests := f.db.Ledger + ".requests"
	user := f.NewUser(purgetest.Retiring)
	ref := f.NewReference(user, purge.Live, idD, idV, "")
	accepted := must(f.Accept(t.Context(), []purge.Wish{
		{User: user, Key: purge.DefaultKey(user), Source: purge.SourceCLI}, {User: user, Key: "later", Source: purge.SourceCLI},
	}))
	attempt := must(f.Begin(t.Context(), purge.Task{Request: accepted[0].Request, User: user}))

	holding := must(f.db.Root.BeginTx(t.Context(), nil))
	if _, err := holding.ExecContext(t.Context(), "SELECT 1 FROM "+requests+" WHERE id = ? FOR UPDATE", accepted[1].Request); err != nil {
		t.Fatal(err)
	}
	type answer struct {
		recorded purge.Recorded
		err      error
	}
	done := make(chan answer, 1)
	go func() {
		recorded, err := f.Record(t.Context(), attempt, purge.Report{
			State: purge.Done, Certificates: 1,
			Clear: []purge.Clearing{{CertificateID: ref.CertificateID, Table: purge.Live, References: []purge.Reference{ref}}},
		})
		done <- answer{recorded, err}
	}()
	f.waitForLock()
	// The other attempt gets its way if the request is not locked yet; else it gives up, at once or after the recording.
	other := must(f.db.Root.Conn(t.Context()))
	defer other.Close()
	if _, err := other.ExecContext(t.Context(), "SET SESSION innodb_lock_wait_timeout = 1"); err != nil {
		t.Fatal(err)
	}
	_, _ = other.ExecContext(t.Context(), "UPDATE "+requests+" SET state = 'queued' WHERE id = ? AND state = 'running'", attempt.Request)
	if err := holding.Commit(); err != nil {
		t.Fatal(err)
	}
	got := sandboxtest.Receive(t, "the attempt has recorded", done)
	if got.err != nil || got.recorded.State != purge.Done || got.recorded.Counts.Certificates != 1 {
		t.Errorf("got %+v, %v; want done", got.recorded, got.err)
	}
}
