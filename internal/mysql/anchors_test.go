package mysql_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/evidence"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
)

// archive is a ledger with the evidence of four users, the first three of them anchored: documents 1 to 6 in two
// anchors, 7 and 8 in none. Each user has left two documents, intents and record.
type archive struct {
	*fixture

	anchors [2]mysql.Anchored
	users   [4]purge.UserID
}

func newArchive(t *testing.T) *archive {
	t.Helper()
	a := &archive{fixture: newFixture(t, lms.UTF8MB4)}
	for i := range a.users {
		a.users[i] = a.NewUser(purgetest.Retiring)
		a.NewReference(a.users[i], purge.Live, idD, idV, "")
		if result := a.purgeUser(a.users[i]); result.State != purge.Done {
			t.Fatalf("got %+v", result)
		}
		if i == 0 || i == 2 {
			a.anchors[i/2] = a.anchor()
		}
	}
	if got := a.ids(); !slices.Equal(got, []int64{1, 2, 3, 4, 5, 6, 7, 8}) {
		t.Fatalf("got the documents %v", got)
	}
	return a
}

func (a *archive) anchor() mysql.Anchored {
	a.t.Helper()
	last, err := a.LastDocument(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	made, err := a.AddAnchor(a.t.Context(), last)
	if err != nil || made.Last != last {
		a.t.Fatalf("got %+v, %v, want an anchor up to %d", made, err, last)
	}
	return made
}

func (a *archive) ids() (ids []int64) {
	a.t.Helper()
	rows, err := a.db.Root.QueryContext(a.t.Context(), "SELECT id FROM "+a.db.Ledger+".evidence_documents ORDER BY id")
	if err != nil {
		a.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			a.t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

// root runs a statement as root; LEDGER stands for the schema.
func (a *archive) root(statement string, args ...any) {
	a.t.Helper()
	a.exec(strings.ReplaceAll(statement, "LEDGER", a.db.Ledger), args...)
}

// document reads a document's text and hash.
func (a *archive) document(id int64) (text, hash []byte) {
	a.t.Helper()
	err := a.db.Root.QueryRowContext(a.t.Context(), "SELECT document, hash FROM "+a.db.Ledger+
		".evidence_documents WHERE id = ?", id).Scan(&text, &hash)
	if err != nil {
		a.t.Fatal(err)
	}
	return text, hash
}

// verify returns what is wrong, one line each.
func (a *archive) verify(anchor []byte) (mysql.Verified, string) {
	a.t.Helper()
	var texts []string
	v, err := a.enqueuer.Verify(a.t.Context(), anchor, func(t evidence.Trouble) error {
		texts = append(texts, t.Text)
		return nil
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return v, strings.Join(texts, "\n")
}

func TestVerifyFindsNothingInWhatIsAsItWasWritten(t *testing.T) {
	t.Parallel()
	a := newArchive(t)
	for _, anchor := range [][]byte{nil, a.anchors[0].Hash[:], a.anchors[1].Hash[:]} {
		v, trouble := a.verify(anchor)
		want := mysql.Verified{
			Requests: 4, Documents: 8, Anchors: 2, Unanchored: 2, LastAnchor: 2, UnanchoredSince: v.UnanchoredSince,
		}
		if trouble != "" || !reflect.DeepEqual(v, want) || v.UnanchoredSince == nil {
			t.Errorf("got %+v, %q", v, trouble)
		}
	}
	unknown := sha256.Sum256([]byte("x"))
	if _, trouble := a.verify(unknown[:]); trouble != fmt.Sprintf("there is no anchor %x: the tables are older than it, or "+
		"were changed", unknown) {
		t.Errorf("an anchor that was never made: got %q", trouble)
	}
}

// TestVerifyNamesWhatWasChanged does with the rights of root what no account of a program may do.
func TestVerifyNamesWhatWasChanged(t *testing.T) {
	t.Parallel()
	// tables as they were before the last user, while the last anchor was made after
	yesterday := func(tables ...string) func(*archive) {
		return func(a *archive) {
			a.root("CREATE TABLE LEDGER.anchors_copy SELECT * FROM LEDGER.anchors")
			a.anchors[1] = a.anchor()
			for _, table := range tables {
				if table == "anchors" {
					a.root("DELETE FROM LEDGER.anchors")
					a.root("INSERT INTO LEDGER.anchors SELECT * FROM LEDGER.anchors_copy")
				} else {
					a.root("DELETE FROM LEDGER." + table + " WHERE id > 6")
				}
			}
		}
	}
	rehash := func(a *archive, id, before int64) {
		text, _ := a.document(id)
		var previous [sha256.Size]byte
		if before != 0 {
			_, hash := a.document(before)
			copy(previous[:], hash)
		}
		hash := evidence.Hash(previous, text)
		a.root("UPDATE LEDGER.evidence_documents SET hash = ? WHERE id = ?", hash[:], id)
	}
	oneByte := func(id int64) func(*archive) {
		return func(a *archive) { // the object's size
			text, _ := a.document(id)
			changed := []byte(strings.Replace(string(text), `"size":`, `"size":1`, 1))
			if string(changed) == string(text) {
				a.t.Fatalf("document %d has no size: %s", id, text)
			}
			a.root("UPDATE LEDGER.evidence_documents SET document = ? WHERE id = ?", changed, id)
		}
	}
	for name, tc := range map[string]struct {
		do    func(*archive)
		wants []string // all that is said
	}{
		"one byte of intents": {oneByte(3), []string{"document 1 of request 2 was changed, or the one before it"}},
		"one byte of a record that is in no anchor": {
			oneByte(8), []string{"document 2 of request 4 was changed, or the one before it"},
		},
		"a document and its hash": {
			func(a *archive) { oneByte(3)(a); rehash(a, 3, 0) },
			[]string{
				"document 2 of request 2 was changed, or the one before it", "document 3 is not the one that anchor 2 holds",
			},
		},
		"a record, its hash, and nothing behind it": {
			func(a *archive) { oneByte(4)(a); rehash(a, 4, 3) }, []string{"document 4 is not the one that anchor 2 holds"},
		},
		"intents are removed": {
			func(a *archive) { a.root("DELETE FROM LEDGER.evidence_documents WHERE id = 3") },
			[]string{
				"document 2 of request 2 is the first that is there: 1 before it are missing",
				"document 3, which anchor 2 holds, is missing",
			},
		},
		"one from the middle is removed, in no anchor": {
			func(a *archive) {
				if n, err := a.Reopen(a.t.Context(), []purge.RequestID{4}, purge.Reopening{}); n != 1 || err != nil {
					a.t.Fatalf("got %d, %v", n, err)
				}
				a.end(purge.Accepted{Request: 4, User: a.users[3]}, purge.Report{State: purge.Done})
				a.root("DELETE FROM LEDGER.evidence_documents WHERE id = 8")
			},
			[]string{"document 2 of request 4 is missing"},
		},
		"the last record is removed": {
			func(a *archive) { a.root("DELETE FROM LEDGER.evidence_documents WHERE id = 8") },
			[]string{"request 4 is done, but the record of that is missing"},
		},
		"all of a request is removed, in no anchor": {
			func(a *archive) { a.root("DELETE FROM LEDGER.evidence_documents WHERE request_id = 4") },
			[]string{"request 4 has erased 4 objects and cleared 1 references, but all of its evidence is missing"},
		},
		"one is inserted": {
			func(a *archive) {
				a.root("UPDATE LEDGER.evidence_documents SET id = 108 WHERE id = 8") // makes room; it is in no anchor
				a.root("INSERT INTO LEDGER.evidence_documents SELECT 8, request_id, 3, user_id, attempt, part, at, hash, document" +
					" FROM LEDGER.evidence_documents WHERE id = 2")
			},
			[]string{"document 3 of request 1 was changed, or the one before it"},
		},
		"one is inserted with its hash, between those of an anchor": {
			func(a *archive) {
				a.root("UPDATE LEDGER.evidence_documents SET id = 106 WHERE id = 6")
				a.root("INSERT INTO LEDGER.evidence_documents SELECT 6, request_id, 3, user_id, attempt, part, at, hash, document" +
					" FROM LEDGER.evidence_documents WHERE id = 2")
				rehash(a, 6, 2)
			},
			[]string{"document 6 is not the one that anchor 2 holds"},
		},
		"two are reordered": {
			func(a *archive) {
				a.root("UPDATE LEDGER.evidence_documents SET number = number + 10 WHERE request_id = 2")
				a.root("UPDATE LEDGER.evidence_documents SET number = 13 - number WHERE request_id = 2")
			},
			[]string{
				"document 1 of request 2 was changed, or the one before it",
				"document 2 of request 2 was changed, or the one before it",
			},
		},
		"the time of one, by which reports of a period choose": {
			func(a *archive) { a.root("UPDATE LEDGER.evidence_documents SET at = '2020-01-01' WHERE id = 4") },
			[]string{"document 2 of request 2 is of "},
		},
		"two swap their requests": {
			func(a *archive) {
				a.root("UPDATE LEDGER.evidence_documents SET request_id = 100 WHERE id = 3")
				a.root("UPDATE LEDGER.evidence_documents SET request_id = 2 WHERE id = 5")
				a.root("UPDATE LEDGER.evidence_documents SET request_id = 3 WHERE id = 3")
			},
			[]string{
				"document 1 of request 2 is kept as another one's: it is about request 3",
				"document 2 of request 2 was changed, or the one before it",
				"document 1 of request 3 is kept as another one's: it is about request 2",
				"document 2 of request 3 was changed, or the one before it",
			},
		},
		"an anchor": {
			func(a *archive) { a.root("UPDATE LEDGER.anchors SET hash = REPEAT('x', 32) WHERE id = 2") },
			[]string{"anchor 2 was changed, or the one before it", "there is no anchor LOGGED"},
		},
		"an anchor with another one behind it": {
			func(a *archive) { a.root("UPDATE LEDGER.anchors SET hash = REPEAT('x', 32) WHERE id = 1") },
			[]string{"anchor 1 was changed, or the one before it", "anchor 2 was changed, or the one before it"},
		},
		"what an anchor lists": {
			func(a *archive) { a.root("UPDATE LEDGER.anchors SET documents = '' WHERE id = 1") },
			[]string{"document 1 was added after anchor 1 was made", "document 2 was added after anchor 1 was made"},
		},
		"an anchor is removed": {
			func(a *archive) { a.root("DELETE FROM LEDGER.anchors WHERE id = 1") },
			[]string{
				"anchor 2 begins behind document 2, but the anchor before it ends at 0: an anchor is missing",
			},
		},
		"the last anchor is removed, and known from the log": {
			func(a *archive) { a.root("DELETE FROM LEDGER.anchors WHERE id = 2") }, []string{"there is no anchor LOGGED"},
		},
		"yesterday's documents": {
			yesterday("evidence_documents"), []string{
				"request 4 has erased 4 objects", "document 7, which anchor 3 holds, is missing",
				"document 8, which anchor 3 holds, is missing",
			},
		},
		"yesterday's documents and anchors, and an anchor of today from the log": {
			yesterday("evidence_documents", "anchors"),
			[]string{"request 4 has erased 4 objects", "there is no anchor LOGGED"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newArchive(t)
			tc.do(a)
			_, got := a.verify(a.anchors[1].Hash[:])
			lines := strings.Split(got, "\n")
			if len(lines) != len(tc.wants) && got != "" || got == "" {
				t.Errorf("got %d troubles, want %d:\n%s", len(lines), len(tc.wants), got)
			}
			for i, want := range tc.wants {
				want = strings.ReplaceAll(want, "LOGGED", hex.EncodeToString(a.anchors[1].Hash[:]))
				if i >= len(lines) || !strings.HasPrefix(lines[i], want) {
					t.Errorf("trouble %d: got\n%s\nwant %q", i+1, got, want)
				}
			}
		})
	}
}

// TestVerifyIsQuietWhileAttemptsEnd: an end that comes while it reads is no end without a record.
func TestVerifyIsQuietWhileAttemptsEnd(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	a := &archive{fixture: f}
	user := f.NewUser(purgetest.Retiring)
	f.NewReference(user, purge.Live, idD, idV, "")
	accepted, err := f.Accept(t.Context(), []purge.Submission{{User: user, Key: purge.DefaultKey(user)}})
	if err != nil {
		t.Fatal(err)
	}
	attempt, err := f.Begin(t.Context(), purge.Task{Request: accepted[0].Request, User: user})
	if err != nil {
		t.Fatal(err)
	}
	dir := purge.Directory{Bucket: "certs", Prefix: "downloads/" + idD + "/"}
	intent := purge.Evidence{CertificateID: 1, Table: purge.Live, Outcome: purge.Listed, Generation: purge.Generation{
		Directory: dir, Name: dir.Prefix + "Certificate.pdf", Number: 1,
	}}
	if _, err := f.Intend(t.Context(), attempt, []purge.Evidence{intent}, nil); err != nil {
		t.Fatal(err)
	}
	end := func() {
		if _, err := f.Record(t.Context(), attempt, purge.Report{State: purge.Failed, Reason: purge.ReasonHeld}); err != nil {
			t.Error(err)
		}
	}
	a.enqueuer = f.open(f.dsn(), func(c *mysql.Config) {
		asked := 0
		c.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			return writeHook{conn, func(b []byte) {
				if bytes.Contains(b, []byte("SELECT id, state, user_id, certificate_id")) || bytes.Contains(b, []byte("hash, document FROM")) {
					if asked++; asked == 2 { // of the two that are compared
						end()
					}
				}
			}}, err
		}
	})
	if _, trouble := a.verify(nil); trouble != "" {
		t.Errorf("got %q", trouble)
	}
	if rows := must(f.Requests(t.Context(), []purge.RequestID{accepted[0].Request})); rows[0].State != purge.Failed {
		t.Errorf("got %+v, want it ended while Verify read", rows)
	}
}

// writeHook is told what is written to a connection, before it is.
type writeHook struct {
	net.Conn
	before func([]byte)
}

func (c writeHook) Write(b []byte) (int, error) { c.before(b); return c.Conn.Write(b) }

// TestEvidenceIsOnlyAdded holds the passwords of the running accounts: rows that are there can be neither changed nor
// removed, nor replaced.
func TestEvidenceIsOnlyAdded(t *testing.T) {
	t.Parallel()
	a := newArchive(t)
	if n, err := a.Reopen(t.Context(), []purge.RequestID{1}, purge.Reopening{By: "cli, alice@ops"}); n != 1 || err != nil {
		t.Fatalf("got %d, %v", n, err)
	}
	tables := map[string]string{
		"evidence_documents": "document", "anchors": "hash", "events": "actor",
	}
	before := map[string]string{}
	for table := range tables {
		before[table] = a.checksum(table)
	}
	for role, account := range map[string]lms.Account{"worker": a.accounts.Worker, "enqueuer": a.accounts.Enqueuer} {
		db, err := sql.Open("mysql", a.db.LedgerDSN(account))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		for table, column := range tables {
			for _, statement := range []string{
				"UPDATE " + table + " SET " + column + " = 'x'", "UPDATE " + table + " SET at = NOW()",
				"DELETE FROM " + table, "TRUNCATE " + table, "REPLACE INTO " + table + " SELECT * FROM " + table,
				"INSERT INTO " + table + " SELECT * FROM " + table + " ON DUPLICATE KEY UPDATE " + column + " = 'x'",
				"ALTER TABLE " + table + " ADD COLUMN x INT", "DROP TABLE " + table, "RENAME TABLE " + table + " TO x",
			} {
				if _, err := db.ExecContext(t.Context(), statement); err == nil || !strings.Contains(err.Error(), "denied") {
					t.Errorf("%s: %s: got %v, want it denied", role, statement, err)
				}
			}
		}
	}
	for table := range tables {
		if got := a.checksum(table); got != before[table] {
			t.Errorf("%s was changed", table)
		}
	}
	if _, trouble := a.verify(nil); trouble != "" {
		t.Errorf("got %q", trouble)
	}
}

func (a *archive) checksum(table string) (sum string) {
	a.t.Helper()
	var name string
	err := a.db.Root.QueryRowContext(a.t.Context(), "CHECKSUM TABLE "+a.db.Ledger+"."+table).Scan(&name, &sum)
	if err != nil {
		a.t.Fatal(err)
	}
	return sum
}

// TestUnanchoredSinceIsTheOldest moves the times of the two last documents, which are in no anchor.
func TestUnanchoredSinceIsTheOldest(t *testing.T) {
	t.Parallel()
	a := newArchive(t)
	oldest := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	a.exec("UPDATE "+a.db.Ledger+".evidence_documents SET at = ? + INTERVAL id SECOND", oldest)
	if since, err := a.UnanchoredSince(t.Context()); err != nil || !since.Equal(oldest.Add(7*time.Second)) {
		t.Errorf("got %v, %v, want that of document 7", since, err)
	}
	a.anchor()
	if since, err := a.UnanchoredSince(t.Context()); err != nil || !since.IsZero() {
		t.Errorf("all is anchored: got %v, %v", since, err)
	}
}
