package mysql_test

import (
	"testing"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
)

// TestAnAttemptLocksItsOwnRequestOnly makes an attempt while another transaction holds the user's other requests: one
// about a certificate, and one that has ended.
func TestAnAttemptLocksItsOwnRequestOnly(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	requests := f.db.Ledger + ".requests"
	user := f.NewUser(purgetest.Retiring)
	ref := f.NewReference(user, purge.Live, idD, idV, "")
	ended := must(f.Accept(t.Context(), []purge.Submission{{User: user, Key: "ended", Source: purge.SourceCLI}}))[0]
	earlier := must(f.Begin(t.Context(), purge.Task{Request: ended.Request, User: user}))
	must(f.Record(t.Context(), earlier, purge.Report{State: purge.Failed, Reason: purge.ReasonHeld}))
	accepted := must(f.Accept(t.Context(), []purge.Submission{
		{User: user, Key: purge.DefaultKey(user), Source: purge.SourceCLI},
		{User: user, Certificate: ref.CertificateID, Key: "one", Source: purge.SourceCLI},
	}))
	holding := must(f.db.Root.BeginTx(t.Context(), nil))
	defer func() { _ = holding.Rollback() }()                                  // it changed nothing
	for _, id := range []purge.RequestID{ended.Request, accepted[1].Request} { // one by one: no scan locks more
		if _, err := holding.ExecContext(t.Context(), "SELECT 1 FROM "+requests+" WHERE id = ? FOR UPDATE", id); err != nil {
			t.Fatal(err)
		}
	}
	attempt, err := f.Begin(t.Context(), purge.Task{Request: accepted[0].Request, User: user})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Extend(t.Context(), attempt); err != nil {
		t.Error(err)
	}
	must(f.Intend(t.Context(), attempt, nil, nil))
	got, err := f.Record(t.Context(), attempt, purge.Report{
		State: purge.Done, Certificates: 1, Proven: []purge.Directory{{Bucket: "b", Prefix: "cert/" + idD + "/"}},
		Clear: []purge.Clearing{{CertificateID: ref.CertificateID, Table: purge.Live, References: []purge.Reference{ref}}},
	})
	if err != nil || got.State != purge.Done || got.Counts.Certificates != 1 {
		t.Errorf("got %+v, %v; want done", got, err)
	}
}
