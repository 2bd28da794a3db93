package main

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// TestTheWorkersPasswordCostsNoOtherUserAFile holds the worker's password and points a retiring user's rows at the
// directories of a learner who is not retiring, whose own rows it empties first.
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
		"UPDATE " + table + " mine JOIN " + table + " theirs ON theirs.user_id = " + sqlID(victim) + " AND mine.user_id = " +
			sqlID(retiring) +
			" SET mine.download_uuid = theirs.download_uuid, mine.download_url = theirs.download_url",
		"UPDATE " + table + " SET download_uuid = '', download_url = '' WHERE user_id = " + sqlID(victim),
	} {
		if _, err := thief.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("the attack is not what it was: %v", err)
		}
	}
	for _, statement := range []string{
		"DELETE FROM directory_owners", "UPDATE directory_owners SET user_id = 1",
		"UPDATE requests SET accept_shared_by = 'x'",
	} {
		if _, err := thief.ExecContext(t.Context(), statement); err == nil || !strings.Contains(err.Error(), "denied") {
			t.Errorf("%s: got %v, want it denied", statement, err)
		}
	}
	got := s.await(purge.Failed, s.enqueue(retiring)...)[0]
	if got.Reason != purge.ReasonShared || got.ReferencesCleared != 0 ||
		!strings.Contains(got.Detail, "user "+sqlID(victim)) {
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
		for _, prefix := range []string{
			"downloads/" + s.id(int(user)*10+i) + "/",
			"cert/" + s.id(1_000_000+int(user)*10+i) + "/",
		} {
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

// TestADirectoryOfAnotherUserIsKept lets the first of a retiring user's two rows name a directory of a learner who is
// not retiring, in each way in which the learner's own rows can hold its id. The second row is the user's own.
func TestADirectoryOfAnotherUserIsKept(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	table := s.db.LMS + ".certificates_generatedcertificate"
	learner := func() purge.UserID {
		t.Helper()
		user := s.addUser()
		s.db.CancelRetirement(t, int(user))
		s.db.Exec(t, "DELETE FROM "+s.db.LMS+".user_api_userretirementrequest WHERE user_id = ?", user)
		return user
	}
	download := func(user purge.UserID) string { return s.id(int(user) * 10) }
	verify := func(user purge.UserID) string { return s.id(1_000_000 + int(user)*10) }
	// set writes the first row of a user.
	set := func(user purge.UserID, download, verify string) {
		t.Helper()
		s.db.Exec(t, "UPDATE "+table+" SET download_uuid = ?, verify_uuid = ?, download_url = '' WHERE user_id = ? ORDER "+
			"BY id LIMIT 1", download, verify, user)
	}
	type pair struct{ retiring, learner purge.UserID }
	pairs := map[string]pair{}
	for _, name := range []string{
		"the download id", "of an emptied row", "the verification id", "the download id as the verification id",
		"the verification id as the download id",
		"of a row of the history", "of a row that was made anew",
	} {
		pairs[name] = pair{s.addUser(), learner()}
	}
	past := pairs["of a row of the history"].learner
	s.db.Exec(t, "DELETE FROM "+table+" WHERE user_id = ?", past)
	s.db.AddHistory(t, sandboxtest.HistoryRow{
		CertificateID: 1_000_000,
		Certificate:   sandboxtest.Certificate{UserID: int(past), DownloadUUID: download(past)},
	})
	both, accepted := pair{s.addUser(), s.addUser()}, pair{s.addUser(), learner()}
	set(both.retiring, download(both.learner), verify(both.retiring))
	own := s.addUser()
	s.db.AddHistory(t, sandboxtest.HistoryRow{CertificateID: 1_000_001, Certificate: sandboxtest.Certificate{
		UserID: int(own), DownloadUUID: download(own), VerifyUUID: verify(own),
	}})

	worker := s.start()
	sandboxtest.Eventually(t, "the worker is ready", func() bool { status, _ := worker.health(); return status == 200 })
	anew := pairs["of a row that was made anew"].learner
	newID := s.id(9_000_000)
	set(anew, newID, s.id(9_000_001))
	if _, err := s.bucket.Put("certs", "downloads/"+newID+"/Certificate.pdf", []byte("personal"),
		gcstest.ObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	sandboxtest.Eventually(t, "all rows have been read again", func() bool { // by the leader
		var known bool
		err := s.store.WalkOwners(t.Context(), 0, func(mysql.Walk) {})
		return err == nil && s.db.Root.QueryRowContext(t.Context(), "SELECT COUNT(*) > 0 FROM "+s.db.Ledger+
			".directory_owners WHERE id = UNHEX(?)", newID).Scan(&known) == nil && known
	})
	pairs["of a row that is newer"] = pair{s.addUser(), learner()}
	for name, p := range pairs {
		stranger := s.id(8_000_000 + int(p.retiring))
		switch name {
		case "the verification id":
			set(p.retiring, stranger, verify(p.learner))
		case "the download id as the verification id":
			set(p.retiring, stranger, download(p.learner))
		case "the verification id as the download id":
			set(p.retiring, verify(p.learner), stranger)
		case "of a row that was made anew":
			set(p.retiring, newID, stranger)
		default:
			set(p.retiring, download(p.learner), stranger)
		}
	}
	set(pairs["of an emptied row"].learner, "", "")
	set(accepted.retiring, download(accepted.learner), verify(accepted.retiring))

	for name, p := range pairs {
		got := s.await(purge.Failed, s.enqueue(p.retiring)...)[0]
		if got.Reason != purge.ReasonShared || got.ObjectsErased != 4 || got.ReferencesCleared != 1 ||
			!strings.Contains(got.Detail, "of user "+sqlID(p.retiring)+" ") ||
			!strings.Contains(got.Detail, "user "+sqlID(p.learner)+" ") {
			t.Errorf("%s: got %+v, want failed: shared_directory with one certificate erased, and both users named", name, got)
		}
		if left := s.stored(p.learner); left != 8 {
			t.Errorf("%s: %d files of the learner are left of 8", name, left)
		}
	}
	if n := len(s.bucket.Objects("certs", "downloads/"+newID+"/")); n != 1 {
		t.Error("the file of the certificate that was made anew is gone")
	}
	for user, other := range map[purge.UserID]purge.UserID{both.retiring: both.learner, both.learner: both.retiring} {
		got := s.await(purge.Failed, s.enqueue(user)...)[0]
		if got.Reason != purge.ReasonShared || !strings.Contains(got.Detail, "a row of user "+sqlID(other)+" ") {
			t.Errorf("user %d, who shares with user %d: got %+v", user, other, got)
		}
	}
	if got := s.await(purge.Done, s.enqueue(own)...)[0]; got.ObjectsErased != 8 || got.ReferencesCleared != 3 {
		t.Errorf("rows of one user: got %+v, want done", got)
	}
	s.await(purge.Failed, s.enqueue(accepted.retiring)...)
	got := s.await(purge.Done, s.accept(purge.Submission{User: accepted.retiring, AcceptShared: "alice@ops"})...)[0]
	if left := s.stored(accepted.learner); left != 7 || got.ReferencesCleared != 2 {
		t.Errorf("accepted: got %+v, and %d files of the other user left; want the one PDF erased", got, left)
	}
	accepters := map[string]string{}
	err := s.store.EachEvidence(t.Context(), mysql.EvidenceFilter{User: accepted.retiring},
		func(e mysql.EvidenceRecord) error {
			if e.Kind == "object" {
				accepters[e.Name] = e.AcceptedBy
			}
			return nil
		})
	second := "downloads/" + s.id(int(accepted.retiring)*10+1) + "/Certificate.pdf"
	if by := accepters["downloads/"+download(accepted.learner)+"/Certificate.pdf"]; err != nil || by != "alice@ops" ||
		accepters[second] != "" {
		t.Errorf("got %v, %v; want the evidence to say who accepted, of that directory only", accepters, err)
	}
}

// TestASiteThatSharesDirectories has decided to erase them: its worker waits for no walk, and requests no other users.
func TestASiteThatSharesDirectories(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.cfg.SharedDirectories = "accept"
	retiring, other := s.addUser(), s.addUser()
	table := s.db.LMS + ".certificates_generatedcertificate"
	s.db.Exec(t, "UPDATE "+table+" SET download_uuid = ?, download_url = '' WHERE user_id = ? ORDER BY id LIMIT 1",
		s.id(int(other)*10), retiring)
	s.start()
	if got := s.await(purge.Done, s.enqueue(retiring)...)[0]; got.ReferencesCleared != 2 || s.stored(other) != 7 {
		t.Errorf("got %+v, and %d files of the other user left; want the shared one erased", got, s.stored(other))
	}
	var walks int
	if err := s.db.Root.QueryRowContext(t.Context(),
		"SELECT COUNT(*) FROM "+s.db.Ledger+".owner_walks").Scan(&walks); err != nil || walks != 0 {
		t.Errorf("got %d walks, %v; want none", walks, err)
	}
}
