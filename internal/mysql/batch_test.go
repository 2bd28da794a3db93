package mysql_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/evidence"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
)

// accompanied is a Store of which every call shares its batch with those of two other users.
type accompanied struct {
	*fixture
}

// companions are attempts of other users, of whom nothing is left to do.
func (a accompanied) companions() [2]purge.Attempt {
	a.t.Helper()
	var both [2]purge.Attempt
	for i := range both {
		both[i] = a.begun()
	}
	return both
}

// begun claims a request of a new user.
func (f *fixture) begun() purge.Attempt {
	f.t.Helper()
	task := f.submitted()
	attempt, err := f.Begin(f.t.Context(), task)
	if err != nil {
		f.t.Fatal(err)
	}
	return attempt
}

// submitted makes a request of a new user.
func (f *fixture) submitted() purge.Task {
	f.t.Helper()
	user := f.NewUser(purgetest.Retiring)
	accepted, err := f.Accept(f.t.Context(), []purge.Submission{{
		User: user, Key: purge.DefaultKey(user), Source: purge.SourceCLI,
	}})
	if err != nil {
		f.t.Fatal(err)
	}
	return purge.Task{Request: accepted[0].Request, User: user}
}

func (a accompanied) Begin(_ context.Context, task purge.Task) (purge.Attempt, error) {
	all := a.BeginAll(a.t.Context(), mysql.Call{Task: a.submitted()}, mysql.Call{Task: task}, mysql.Call{Task: a.submitted()})
	for _, other := range []int{0, 2} {
		if all[other].Err != nil || all[other].Value.Number != 1 {
			a.t.Errorf("a companion's claim: got %+v", all[other])
		}
	}
	return all[1].Value, all[1].Err
}

func (a accompanied) Intend(
	_ context.Context, attempt purge.Attempt, intents []purge.Evidence, empty []purge.Directory,
) (purge.Intended, error) {
	both := a.companions()
	others := []purge.Evidence{{
		CertificateID: 7, Table: purge.Live, Outcome: purge.Listed,
		Generation: purge.Generation{Directory: purge.Directory{Bucket: "b", Prefix: "o/"}, Name: "o/x", Number: 1},
	}}
	all := a.IntendAll(a.t.Context(), mysql.Call{Attempt: both[0], Intents: others},
		mysql.Call{Attempt: attempt, Intents: intents, Empty: empty},
		mysql.Call{Attempt: both[1], Empty: []purge.Directory{{Bucket: "b", Prefix: "o/"}}})
	for _, other := range []int{0, 2} {
		if all[other].Err != nil || all[other].Value.Retirement != purgetest.Retiring || all[other].Value.Emptied != nil {
			a.t.Errorf("a companion's intents: got %+v", all[other])
		}
	}
	return all[1].Value, all[1].Err
}

func (a accompanied) Record(_ context.Context, attempt purge.Attempt, report purge.Report) (purge.Recorded, error) {
	both := a.companions()
	ref := a.NewReference(both[0].User, purge.Live, idD, idV, "")
	all := a.RecordAll(a.t.Context(), mysql.Call{Attempt: both[0], Report: purge.Report{
		State: purge.Done, Certificates: 1,
		Clear: []purge.Clearing{{CertificateID: ref.CertificateID, Table: purge.Live, References: []purge.Reference{ref}}},
	}}, mysql.Call{Attempt: attempt, Report: report}, mysql.Call{Attempt: both[1], Report: purge.Report{
		State: purge.Refused, Reason: purge.ReasonNotRetiring,
	}})
	if got := all[0].Value; all[0].Err != nil || got.State != purge.Done || got.Counts.ReferencesCleared != 1 {
		a.t.Errorf("the first companion's record: got %+v", all[0])
	}
	if got := all[2].Value; all[2].Err != nil || got.State != purge.Refused || got.Counts != (purge.Counts{}) {
		a.t.Errorf("the other companion's record: got %+v", all[2])
	}
	return all[1].Value, all[1].Err
}

func (a accompanied) User(_ context.Context, id purge.UserID) (purge.User, error) {
	all := a.UserAll(a.t.Context(), a.NewUser(purgetest.Retiring), id, 2_000_000_001)
	if all[0].Value.Retirement != purgetest.Retiring || all[2].Value.Retirement != (purge.Retirement{}) {
		a.t.Errorf("the companions: got %+v", all)
	}
	return all[1].Value, all[1].Err
}

func (a accompanied) Sharing(_ context.Context, user purge.UserID, ids []string) ([]purge.Shared, error) {
	other := a.NewUser(purgetest.Retiring)
	all := a.SharingAll(a.t.Context(), []purge.UserID{other, user}, [][]string{{strings.Repeat("5a", 16)}, ids})
	if all[0].Err != nil || len(all[0].Value) != 0 {
		a.t.Errorf("the companion: got %+v", all[0])
	}
	return all[1].Value, all[1].Err
}

// TestABatchDoesWhatOneCallDoes runs the conformance suite with calls that share their batches.
func TestABatchDoesWhatOneCallDoes(t *testing.T) {
	t.Parallel()
	purgetest.Conformance(t, func(t *testing.T) purgetest.StoreUnderTest {
		t.Helper()
		return accompanied{newFixture(t, lms.Mixed)}
	})
}

// wire counts what is sent to the server.
type wire struct {
	mu      sync.Mutex
	packets int
	texts   bytes.Buffer
}

type wireConn struct {
	net.Conn

	wire *wire
}

func (c wireConn) Write(b []byte) (int, error) {
	c.wire.mu.Lock()
	c.wire.packets++
	c.wire.texts.Write(b)
	c.wire.mu.Unlock()
	return c.Conn.Write(b)
}

// counted lets the connections of a Store be counted.
func (w *wire) counted(c *mysql.Config) {
	c.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return wireConn{conn, w}, err
	}
}

// reset returns what was sent since the last call.
func (w *wire) reset() (packets int, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	packets, text = w.packets, w.texts.String()
	w.packets = 0
	w.texts.Reset()
	return packets, text
}

// TestABatchCostsFewStatements counts them on the wire: for sixteen users with two certificates each, every step in one
// batch.
func TestABatchCostsFewStatements(t *testing.T) {
	t.Parallel()
	const users = 16
	var w wire
	f := newFixture(t, lms.UTF8MB4, w.counted)
	var calls []mysql.Call
	var ids []purge.UserID
	var names [][]string
	for i := range users {
		c := mysql.Call{Task: f.submitted()}
		dir := purge.Directory{Bucket: "certs", Prefix: fmt.Sprintf("downloads/%032x/", i)}
		for range 2 {
			ref := f.NewReference(c.Task.User, purge.Live, fmt.Sprintf("%032x", i), idV, "")
			c.Report.Clear = append(c.Report.Clear, purge.Clearing{
				CertificateID: ref.CertificateID, Table: purge.Live, References: []purge.Reference{ref},
			})
		}
		e := purge.Evidence{
			CertificateID: c.Report.Clear[0].CertificateID, Table: purge.Live, Outcome: purge.Listed,
			Generation: purge.Generation{Directory: dir, Name: dir.Prefix + "Certificate.pdf", Number: 1, Size: 2},
		}
		c.Intents = []purge.Evidence{e}
		e.Outcome = purge.Erased
		c.Report.State, c.Report.Evidence, c.Report.Proven = purge.Done, []purge.Evidence{e}, []purge.Directory{dir}
		calls, ids, names = append(calls, c), append(ids, c.Task.User), append(names, []string{fmt.Sprintf("%032x", i)})
	}
	if err := f.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.reset()
	for i, a := range f.BeginAll(t.Context(), calls...) {
		calls[i].Attempt = a.Value
	}
	f.UserAll(t.Context(), ids...)
	f.SharingAll(t.Context(), ids, names)
	f.IntendAll(t.Context(), calls...)
	for i, a := range f.RecordAll(t.Context(), calls...) {
		if a.Err != nil || a.Value.State != purge.Done || a.Value.Counts.ReferencesCleared != 2 {
			t.Errorf("user %d: got %+v", ids[i], a)
		}
	}
	packets, text := w.reset()
	statements := strings.Count(text, ";\n") + 2 // the reads of users and of sharing are not scripts
	commits := strings.Count(text, "COMMIT;") + strings.Count(text, "INSERT INTO evidence_documents") - 1
	if packets > 6 || statements > 2*users || commits > users*3/10 {
		t.Errorf("got %d packets, %d statements and %d commits for %d users:\n%s", packets, statements, commits, users, text)
	}
	t.Logf("%d packets, %d statements, %d commits for %d users", packets, statements, commits, users)
}

// TestALockedRowHoldsUpNoOther has the LMS lock a row of one of three users while their attempts are recorded together.
func TestALockedRowHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4, func(c *mysql.Config) { c.QueryTimeout = 10 * time.Second })
	var calls []mysql.Call
	for range 3 {
		c := mysql.Call{Attempt: f.begun()}
		ref := f.NewReference(c.Attempt.User, purge.Live, idD, idV, "")
		c.Report = purge.Report{State: purge.Done, Certificates: 1, Clear: []purge.Clearing{
			{CertificateID: ref.CertificateID, Table: purge.Live, References: []purge.Reference{ref}},
		}}
		calls = append(calls, c)
	}
	tx, err := f.db.Root.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback() //nolint:errcheck // it has ended by then
	locked := calls[1].Report.Clear[0].References[0].RowID
	if _, err := tx.ExecContext(t.Context(), "UPDATE "+f.db.LMS+".certificates_generatedcertificate SET grade = '1' "+
		"WHERE id = ?", locked); err != nil {
		t.Fatal(err)
	}
	got := f.RecordAll(t.Context(), calls...)
	for i, a := range got {
		if i != 1 && (a.Err != nil || a.Value.State != purge.Done) {
			t.Errorf("call %d: got %+v, want it done", i, a)
		}
	}
	if err := got[1].Err; purge.ClassOf(err) != purge.Transient || !strings.Contains(err.Error(), "1205") {
		t.Errorf("the locked user: got %v, want that the wait ended (MySQL error 1205)", err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if again, err := f.Record(t.Context(), calls[1].Attempt, calls[1].Report); err != nil || again.State != purge.Done {
		t.Errorf("after the lock: got %+v, %v", again, err)
	}
}

// TestALockedRowKeepsNoCallWaiting has one call wait for a row that the LMS has locked, and another one end meanwhile.
func TestALockedRowKeepsNoCallWaiting(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4, func(c *mysql.Config) { c.QueryTimeout = 10 * time.Minute })
	locked, other := f.begun(), f.begun()
	ref := f.NewReference(locked.User, purge.Live, idD, idV, "")
	tx, err := f.db.Root.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback() //nolint:errcheck // it has ended by then
	if _, err := tx.ExecContext(t.Context(), "UPDATE "+f.db.LMS+".certificates_generatedcertificate SET grade = '1' "+
		"WHERE id = ?", ref.RowID); err != nil {
		t.Fatal(err)
	}
	recorded := make(chan error, 1)
	go func() {
		_, err := f.Record(t.Context(), locked, purge.Report{State: purge.Done, Clear: []purge.Clearing{
			{CertificateID: ref.CertificateID, Table: purge.Live, References: []purge.Reference{ref}},
		}})
		recorded <- err
	}()
	f.waitForLock()
	if got, err := f.Record(t.Context(), other, purge.Report{State: purge.Done}); err != nil || got.State != purge.Done {
		t.Errorf("the other: got %+v, %v", got, err)
	}
	select {
	case err := <-recorded:
		t.Errorf("the locked one ended first: %v", err)
	default:
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-recorded; err != nil {
		t.Errorf("after the lock: %v", err)
	}
}

// TestTwoRequestsOfOneUserInABatch has one erase what the other finds empty.
func TestTwoRequestsOfOneUserInABatch(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	whole := f.begun()
	accepted, err := f.Accept(t.Context(), []purge.Submission{{
		User: whole.User, Certificate: 7, Key: purge.CertificateKey(7), Source: purge.SourceCLI,
	}})
	if err != nil {
		t.Fatal(err)
	}
	one, err := f.Begin(t.Context(), purge.Task{Request: accepted[0].Request, User: whole.User})
	if err != nil {
		t.Fatal(err)
	}
	dir := purge.Directory{Bucket: "certs", Prefix: "downloads/x/"}
	erased := purge.Evidence{
		CertificateID: 7, Table: purge.Live, Outcome: purge.Erased,
		Generation: purge.Generation{Directory: dir, Name: dir.Prefix + "x", Number: 1},
	}
	empty := purge.Evidence{
		CertificateID: 7, Table: purge.Live, Outcome: purge.Absent,
		Generation: purge.Generation{Directory: dir, Name: dir.Prefix},
	}
	report := purge.Report{State: purge.Done, Proven: []purge.Directory{dir}}
	first, second := report, report
	first.Evidence, second.Evidence = []purge.Evidence{erased}, []purge.Evidence{empty}
	all := f.RecordAll(t.Context(), mysql.Call{Attempt: whole, Report: first}, mysql.Call{Attempt: one, Report: second})
	if all[0].Err != nil || all[0].Value.Counts.ObjectsErased != 1 {
		t.Errorf("the first: got %+v", all[0])
	}
	if all[1].Err != nil || all[1].Value.Counts.ObjectsAbsent != 0 || all[1].Value.State != purge.Done {
		t.Errorf("the other: got %+v; want that the directory is not one that held nothing", all[1])
	}
}

// TestAMemberThatFailsFailsAlone has one of three reports that the server refuses.
func TestAMemberThatFailsFailsAlone(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	calls := []mysql.Call{{Attempt: f.begun()}, {Attempt: f.begun()}, {Attempt: f.begun()}}
	for i := range calls {
		calls[i].Report = purge.Report{State: purge.Failed, Reason: purge.ReasonHeld}
	}
	calls[1].Report.Reason = purge.Reason(strings.Repeat("x", 41)) // longer than the column
	got := f.RecordAll(t.Context(), calls...)
	if got[0].Value.State != purge.Failed || got[2].Value.State != purge.Failed || got[1].Err == nil {
		t.Errorf("got %+v", got)
	}
	if n := len(f.db.DumpTable(t, f.db.Ledger+".evidence_documents")); n != 2 {
		t.Errorf("got %d documents, want those of the other two", n)
	}
}

// TestCallsOfOneUserInABatch have one build on what the other one has written.
func TestCallsOfOneUserInABatch(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	task := f.submitted()
	claims := f.BeginAll(t.Context(), mysql.Call{Task: task}, mysql.Call{Task: task})
	fences := []int{claims[0].Value.Fence, claims[1].Value.Fence}
	slices.Sort(fences)
	if claims[0].Err != nil || claims[1].Err != nil || fences[0] != 1 || fences[1] != 2 {
		t.Fatalf("got %+v, want two claims with fences of their own", claims)
	}
	e := purge.Evidence{
		CertificateID: 7, Table: purge.Live, Outcome: purge.Listed,
		Generation: purge.Generation{Directory: purge.Directory{Bucket: "b", Prefix: "d/"}, Name: "d/x", Number: 1},
	}
	for _, a := range f.IntendAll(t.Context(), mysql.Call{Attempt: claims[0].Value, Intents: []purge.Evidence{e}},
		mysql.Call{Attempt: claims[1].Value, Intents: []purge.Evidence{e}}) {
		if a.Err != nil {
			t.Errorf("intents: %v", a.Err)
		}
	}
	e.Outcome = purge.Erased
	report := purge.Report{State: purge.Done, Evidence: []purge.Evidence{e}, Proven: []purge.Directory{e.Generation.Directory}}
	for _, a := range f.RecordAll(t.Context(), mysql.Call{Attempt: claims[0].Value, Report: report},
		mysql.Call{Attempt: claims[1].Value, Report: report}) {
		if a.Err != nil || a.Value.State != purge.Done || a.Value.Counts.ObjectsErased != 1 {
			t.Errorf("records: got %+v", a)
		}
	}
	f.verified(4)
}

// verified makes sure that the evidence is a chain of so many documents.
func (f *fixture) verified(documents int) {
	f.t.Helper()
	v, err := f.Verify(f.t.Context(), nil, func(trouble evidence.Trouble) error {
		f.t.Errorf("the evidence: %+v", trouble)
		return nil
	})
	if err != nil || v.Documents != documents {
		f.t.Errorf("got %+v, %v; want %d documents", v, err, documents)
	}
}

// TestALargeDocumentIsDivided records more objects than one document may hold.
func TestALargeDocumentIsDivided(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	attempt := f.begun()
	report := purge.Report{State: purge.Done}
	var intents []purge.Evidence
	const objects = 5_000
	for i := range objects {
		dir := purge.Directory{Bucket: "certs", Prefix: fmt.Sprintf("downloads/%032x/", i/2_000)}
		e := purge.Evidence{
			CertificateID: 7, Table: purge.Live, Outcome: purge.Listed,
			Generation: purge.Generation{Directory: dir, Name: fmt.Sprintf("%s%0100d", dir.Prefix, i), Number: int64(i + 1)},
		}
		intents = append(intents, e)
		e.Outcome = purge.Erased
		report.Evidence = append(report.Evidence, e)
		if !slices.Contains(report.Proven, dir) {
			report.Proven = append(report.Proven, dir)
		}
	}
	if _, err := f.Intend(t.Context(), attempt, intents, nil); err != nil {
		t.Fatal(err)
	}
	got, err := f.Record(t.Context(), attempt, report)
	if err != nil || got.State != purge.Done || got.Counts.ObjectsErased != objects {
		t.Errorf("got %+v, %v", got, err)
	}
	rows := f.db.DumpTable(t, f.db.Ledger+".evidence_documents")
	for _, row := range rows {
		if len(row["document"]) > 256<<10 {
			t.Errorf("a document of %d bytes", len(row["document"]))
		}
	}
	f.verified(len(rows))
	n := 0
	err = f.EachEvidence(t.Context(), mysql.EvidenceFilter{User: attempt.User}, func(r mysql.EvidenceRecord) error {
		if r.Outcome == purge.Erased {
			n++
		}
		return nil
	})
	if err != nil || n != objects || len(rows) < 6 {
		t.Errorf("got %d erased objects in %d documents, %v", n, len(rows), err)
	}
	next, err := f.Emptied(t.Context(), attempt.User, report.Proven)
	if err != nil || len(next) != len(report.Proven) {
		t.Errorf("got %d directories emptied before, %v", len(next), err)
	}
}
