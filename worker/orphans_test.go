package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// orphanFile writes the list of orphans that the inventory finds, and returns its name.
func (s *site) orphanFile(args ...string) string {
	s.t.Helper()
	_, out, said := s.command(append([]string{"inventory", "--min-age", "1m", "--list", "orphan"}, args...)...)
	if !strings.Contains(said, "are orphan") {
		s.t.Fatalf("there is no orphan: %s", said)
	}
	file := filepath.Join(s.t.TempDir(), "orphans")
	must(s.t, os.WriteFile(file, []byte(out), 0o600))
	return file
}

// erase hands a list to the workers.
func (s *site) erase(file string, args ...string) (code int, out, said string) {
	s.t.Helper()
	dsn := filepath.Join(s.t.TempDir(), "dsn")
	must(s.t, os.WriteFile(dsn, []byte(s.db.LedgerDSN(s.accounts.Enqueuer)+"\n"), 0o600))
	return s.command(append([]string{
		"inventory", "--erase-orphans", file, "--older-than", "1m", "--execute", "--wait",
		"--enqueuer-dsn-file", dsn,
	}, args...)...)
}

// link gives a user's first certificate its link back, as a backup that is restored does.
func (s *site) link(user purge.UserID) {
	s.t.Helper()
	s.db.Exec(s.t, fmt.Sprintf("UPDATE %s.certificates_generatedcertificate SET download_uuid = '%s' WHERE user_id = %d "+
		"AND verify_uuid = '%s'",
		s.db.LMS, s.id(int(user)*10), user, s.id(1_000_000+int(user)*10)))
}

func TestReviewedOrphansAreErasedWithEvidence(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.age.Store(3600)
	orphan, linked, live := s.addUser(), s.addUser(), s.addUser()
	s.unlink(orphan)
	s.unlink(linked)
	file := s.orphanFile()
	before := len(s.bucket.Objects("certs", ""))
	s.start()

	s.link(linked) // between review and execution: its two directories stay
	s.age.Store(0)
	s.put("cert/" + s.id(1_000_000+int(linked)*10+1) + "/again.html") // and this one is no longer old
	code, out, said := s.command("inventory", "--erase-orphans", file, "--older-than", "1m")
	for _, text := range []string{
		"8 orphans: 5 with 9 objects", "2 left: a row of the LMS holds the id by now",
		"1 left: younger than --older-than 1m0s", "Nothing was done",
	} {
		if !strings.Contains(out, text) {
			t.Errorf("the dry run: got exit code %d, %q and\n%s\nwithout %q", code, said, out, text)
		}
	}
	if got := len(s.bucket.Objects("certs", "")); got != before+1 || code != cli.ExitNotDone {
		t.Errorf("the dry run: got exit code %d and %d objects, want %d", code, got, before+1)
	}
	if code, _, said := s.command("inventory", "--erase-orphans", file, "--execute"); code != cli.ExitUsage ||
		!strings.Contains(said, "--enqueuer-dsn-file") {
		t.Errorf("without the enqueuer's account: got exit code %d and %q", code, said)
	}

	code, out, said = s.erase(file, "-o", "json")
	var found orphansFound
	must(t, json.Unmarshal([]byte(out), &found))
	if code != cli.ExitNotDone || len(found.Requests) != 1 || !strings.Contains(said, "refused: not_orphan") ||
		!strings.Contains(said, "9 objects erased") {
		t.Errorf("got exit code %d, %s and %s", code, out, said)
	}
	if got := s.bucket.Objects("certs", "downloads/"+s.id(int(orphan)*10)); len(got) > 0 {
		t.Errorf("an orphan is left: %v", got)
	}
	for prefix, want := range map[string]int{
		"downloads/" + s.id(int(linked)*10): 1, "cert/" + s.id(1_000_000+int(linked)*10): 3,
		"cert/" + s.id(1_000_000+int(linked)*10+1): 4,
		"downloads/" + s.id(int(live)*10):          1, "cert/" + s.id(1_000_000+int(live)*10): 3,
	} {
		if got := len(s.bucket.Objects("certs", prefix)); got != want {
			t.Errorf("%s: got %d objects, want %d", prefix, got, want)
		}
	}
	rows, err := s.store.Requests(t.Context(), found.Requests)
	must(t, err)
	if r := rows[0]; r.UserID != 0 || r.ObjectsErased != 9 || r.Source != purge.SourceOrphans ||
		!strings.HasPrefix(r.RequestedBy, "orphans, ") ||
		r.IdempotencyKey != purge.OrphanKey(found.Fingerprint, 0) {
		t.Errorf("got %+v", r)
	}
	outcomes := map[purge.Outcome]int{}
	must(t, s.store.EachEvidence(t.Context(), mysql.EvidenceFilter{}, func(e mysql.EvidenceRecord) error {
		if e.SourceTable != purge.NoTable || e.UserID != 0 {
			t.Errorf("got %+v", e)
		}
		outcomes[e.Outcome]++
		return nil
	}))
	if outcomes[purge.Erased] != 9 || outcomes[purge.Referenced] != 2 || outcomes[purge.TooYoung] != 1 ||
		len(outcomes) != 3 {
		t.Errorf("got the evidence %v", outcomes)
	}
	if code, out, said := s.erase(file); code != cli.ExitNotDone || !strings.Contains(out, "5 empty") {
		t.Errorf("once more: got exit code %d, %s and %s", code, out, said)
	}
}

// TestALinkThatComesBetweenListingAndDeleteSavesTheFile is the race of the last check.
func TestALinkThatComesBetweenListingAndDeleteSavesTheFile(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.age.Store(3600)
	user := s.addUser()
	s.unlink(user)
	file := s.orphanFile("-o", "json")
	s.start()
	var once sync.Once
	lists := 0
	s.bucket.SetHook(func(op, _, name string) {
		if op != gcstest.OpList || name != "downloads/"+s.id(int(user)*10)+"/" {
			return
		}
		if lists++; lists == 2 { // the first is the command's own
			once.Do(func() { s.link(user) })
		}
	})
	code, _, said := s.erase(file)
	if code != cli.ExitNotDone || !strings.Contains(said, "a row of the LMS holds the id") {
		t.Errorf("got exit code %d and %s", code, said)
	}
	if got := len(s.bucket.Objects("certs", "downloads/"+s.id(int(user)*10))); got != 1 {
		t.Errorf("the file of the certificate has %d generations, want 1", got)
	}
	if got := len(s.bucket.Objects("certs", "downloads/"+s.id(int(user)*10+1))); got != 0 {
		t.Errorf("the file of the other certificate is left")
	}
}

func TestListsThatAreNoneAreRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	good := "orphan,certs,downloads/" + s.id(5) + "/,1,8,2020-01-01T00:00:00Z,2020-01-01T00:00:00Z\n"
	head := "class,bucket,directory,objects,bytes,oldest,newest\n"
	for text, says := range map[string]string{
		"":                                      "lists no directory",
		head:                                    "lists no directory",
		good:                                    "line 1: expected class,bucket,directory",
		head + good + good:                      "line 3: the directory is there twice",
		head + good + "live" + good[6:]:         `line 3: class "live": expected orphan`,
		head + "orphan,other,downloads/x/\n":    `line 2: bucket "other" is that of no location`,
		head + "orphan,certs,downloads/\n":      `"downloads/" is no certificate's directory`,
		head + "orphan,certs,downloads/../x/\n": "no certificate's directory",
		head + "orphan\n":                       "line 2: expected class,bucket,directory",
		"{\"class\": 5}\n":                      "line 1: expected an object",
	} {
		file := filepath.Join(t.TempDir(), "list")
		must(t, os.WriteFile(file, []byte(text), 0o600))
		if code, out, said := s.erase(file); code != cli.ExitUsage || !strings.Contains(said, says) {
			t.Errorf("%q: got exit code %d, %q and %q, want %q", text, code, out, said, says)
		}
	}
	if code, _, said := s.erase("no/such/file"); code != cli.ExitUsage || !strings.Contains(said, "no/such/file") {
		t.Errorf("no file: got exit code %d and %q", code, said)
	}
}
