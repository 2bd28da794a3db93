package main

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// TestTheWorkersPasswordCostsNoOtherUserAFile holds the worker's password and points a retiring user's rows at the directories
// of a learner who is not retiring, whose own rows it empties first.
func TestTheWorkersPasswordCostsNoOtherUserAFile(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	retiring, victim := s.addUser(), s.addUser()
	for _, table := range []string{"user_api_userretirementrequest", "user_api_userretirementstatus"} {
		s.db.Exec(t, "DELETE FROM "+s.db.LMS+"."+table+" WHERE user_id = ?", victim)
	}
	mine, theirs := s.stored(retiring), s.stored(victim)
	if mine != 8 || theirs != 8 {
		t.Fatalf("got %d and %d files", mine, theirs)
	}
	worker := s.start()
	sandboxtest.Eventually(t, "the worker is ready", func() bool { status, _ := worker.health(); return status == 200 })

	thief, err := sql.Open("mysql", s.db.LedgerDSN(s.accounts.Worker))
	if err != nil {
		t.Fatal(err)
	}
	defer thief.Close()
	table := s.db.LMS + ".certificates_generatedcertificate"
	for _, statement := range []string{
		"UPDATE " + table + " mine JOIN " + table + " theirs ON theirs.user_id = " + sqlID(victim) + " AND mine.user_id = " + sqlID(retiring) +
			" SET mine.download_uuid = theirs.download_uuid, mine.download_url = theirs.download_url",
		"UPDATE " + table + " SET download_uuid = '', download_url = '' WHERE user_id = " + sqlID(victim),
	} {
		if _, err := thief.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("the attack is not what it was: %v", err)
		}
	}
	for _, statement := range []string{
		"DELETE FROM directory_owners", "UPDATE directory_owners SET user_id = 1", "UPDATE requests SET accept_shared_by = 'x'",
	} {
		if _, err := thief.ExecContext(t.Context(), statement); err == nil || !strings.Contains(err.Error(), "denied") {
			t.Errorf("%s: got %v, want it denied", statement, err)
		}
	}
	got := s.await(purge.Failed, s.enqueue(retiring)...)[0]
	if got.Reason != purge.ReasonShared || got.ReferencesCleared != 0 || !strings.Contains(got.Detail, "user "+sqlID(victim)) {
		t.Errorf("got %+v, want failed: shared_directory", got)
	}
	if left := s.stored(victim); left != theirs {
		t.Errorf("%d files of the learner are left of %d", left, theirs)
	}
}

func sqlID(user purge.UserID) string { return purge.DefaultKey(user)[len("user:"):] }

// stored counts the files of a user that addUser made.
func (s *site) stored(user purge.UserID) int {
	n := 0
	for i := range 2 {
		for _, prefix := range []string{"downloads/" + s.id(int(user)*10+i) + "/", "cert/" + s.id(1_000_000+int(user)*10+i) + "/"} {
			n += len(s.bucket.Objects("certs", prefix))
		}
	}
	return n
}

// TestAWorkerReadsWhoseDirectoriesThereAreFirst: until then it deletes nothing.
func TestAWorkerReadsWhoseDirectoriesThereAreFirst(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	user := s.addUser()
	other, err := s.db.Root.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	lock := "certpurge_owners:" + s.db.Ledger // another worker reads
	if _, err := other.ExecContext(t.Context(), "DO GET_LOCK(?, 0)", lock); err != nil {
		t.Fatal(err)
	}
	ids := s.enqueue(user)
	worker := s.start()
	sandboxtest.Eventually(t, "the worker waits, and says why", func() bool {
		status, body := worker.health()
		return status == 503 && strings.Contains(body, "are being read for the first time")
	})
	if left := s.stored(user); left != 8 {
		t.Errorf("%d files are left of 8 before anything is known", left)
	}
	if _, err := other.ExecContext(t.Context(), "DO RELEASE_LOCK(?)", lock); err != nil {
		t.Fatal(err)
	}
	s.await(purge.Done, ids...)
	s.checkErased(user)
}
