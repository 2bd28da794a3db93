package mysql_test

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// clearing is an attempt that is about to record that a certificate's reference may go, while another session has the
// row.
type clearing struct {
	*fixture

	attempt purge.Attempt
	ref     purge.Reference
	worker  atomic.Pointer[net.Conn] // the latest
	release func(statement string)   // lets the other session run a statement, or none, and commit
}

func newClearing(t *testing.T) *clearing {
	t.Helper()
	c := &clearing{}
	c.fixture = newFixture(t, lms.Mixed, func(cfg *mysql.Config) {
		cfg.MaxOpenConnections = 1
		cfg.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			if err == nil {
				c.worker.Store(&conn)
			}
			return conn, err
		}
	})
	user := c.NewUser(purgetest.Retiring)
	c.ref = c.NewReference(user, purge.Live, idD, idV, "")
	accepted, err := c.Accept(t.Context(), []purge.Submission{{
		User: user, Key: purge.DefaultKey(user),
		Source: purge.SourceCLI,
	}})
	if err != nil {
		t.Fatal(err)
	}
	if c.attempt, err = c.Begin(t.Context(), purge.Task{Request: accepted[0].Request, User: user}); err != nil {
		t.Fatal(err)
	}
	tx, err := c.db.Root.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback() }) // committed by then, or the test has failed
	run := func(statement string) {
		if _, err := tx.ExecContext(t.Context(), statement, c.ref.RowID); err != nil {
			t.Fatal(err)
		}
	}
	table := c.db.LMS + "." + lms.Certificates
	run("UPDATE " + table + " SET grade = '1' WHERE id = ?")
	c.release = func(change string) {
		if change != "" {
			run("UPDATE " + table + " SET " + change + " WHERE id = ?")
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// record records in the background, and returns when the server waits for the row.
func (c *clearing) record() (recorded chan error) {
	c.t.Helper()
	recorded = make(chan error, 1)
	go func() {
		_, err := c.Record(c.t.Context(), c.attempt, purge.Report{State: purge.Done, Clear: []purge.Clearing{
			{CertificateID: c.ref.CertificateID, Table: purge.Live, References: []purge.Reference{c.ref}},
		}})
		recorded <- err
	}()
	c.waitForLock()
	return recorded
}

// count requests one number.
func (c *clearing) count(query string, args ...any) (n int) {
	c.t.Helper()
	if err := c.db.Root.QueryRowContext(c.t.Context(), query, args...).Scan(&n); err != nil {
		c.t.Fatal(err)
	}
	return n
}

// evidence is how many references were cleared, by the evidence and by the request's figure, which must agree.
func (c *clearing) evidence() int {
	c.t.Helper()
	evidence := c.count("SELECT COALESCE(SUM(references_cleared), 0) FROM "+c.db.Ledger+".evidence WHERE request_id = ?",
		c.attempt.Request)
	figure := c.count("SELECT references_cleared FROM "+c.db.Ledger+".requests WHERE id = ?", c.attempt.Request)
	if evidence != figure {
		c.t.Errorf("the evidence says %d references cleared, the request %d", evidence, figure)
	}
	return evidence
}

// TestAWorkerThatDiesWhileRecordingLeavesEvidence kills the connection while the server is in the middle of the script.
// The server may go on to the end or give everything up; it must not clear a reference without evidence.
func TestAWorkerThatDiesWhileRecordingLeavesEvidence(t *testing.T) {
	t.Parallel()
	c := newClearing(t)
	recorded := c.record()
	conn := *c.worker.Load()
	if tcp, ok := conn.(*net.TCPConn); ok {
		if err := tcp.SetLinger(0); err != nil { // as the kernel does for a process that is killed with answers unread
			t.Fatal(err)
		}
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-recorded; err == nil {
		t.Fatal("want an error: the connection is gone")
	}
	c.release("")
	account, _, _ := strings.Cut(c.dsn(), ":")
	sandboxtest.Eventually(t, "the server has noticed", func() bool {
		return c.count("SELECT COUNT(*) FROM information_schema.processlist WHERE user = ?", account) == 0
	})
	cleared := c.count("SELECT COUNT(*) FROM "+c.db.LMS+"."+lms.Certificates+" WHERE id = ? AND download_uuid = ''",
		c.ref.RowID)
	if got := c.evidence(); got != cleared {
		t.Errorf("%d references are cleared, the evidence says %d", cleared, got)
	}
}

// TestOnlyWhoClearedAReferenceCountsIt lets another program clear the row while an attempt is about to.
func TestOnlyWhoClearedAReferenceCountsIt(t *testing.T) {
	t.Parallel()
	c := newClearing(t)
	recorded := c.record()
	c.release("download_uuid = '', download_url = ''")
	if err := <-recorded; err != nil {
		t.Fatal(err)
	}
	if got := c.evidence(); got != 0 {
		t.Errorf("got evidence of %d cleared references, want none: another program has cleared it", got)
	}
}
