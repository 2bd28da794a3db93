package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// TestWorkerKeepsLinksToFilesThatAreElsewhere misspells verify_dir, fixes it for one user, and accepts it for another.
func TestWorkerKeepsLinksToFilesThatAreElsewhere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.cfg.Locations[0].VerifyDir = "certs"
	users := []purge.UserID{s.addUser(), s.addUser()}
	worker := s.start()
	for i, r := range s.await(purge.Failed, s.enqueue(users...)...) {
		if r.Reason != purge.ReasonFilesMissing || r.DirectoriesMissing != 2 || r.ObjectsErased != 2 ||
			r.ReferencesCleared != 0 ||
			!strings.Contains(r.Detail, `below "certs/"`) {
			t.Errorf("got %+v, want failed: files_missing with the PDFs erased", r)
		}
		user, err := s.store.User(t.Context(), users[i])
		if err != nil || len(user.References) != 2 {
			t.Errorf("user %d: got %v, %v; want both references kept", users[i], user.References, err)
		}
	}
	sandboxtest.Eventually(t, "the log tells it as errors", func() bool { // the ledger knows it first
		log := worker.log.String()
		return strings.Count(log, "level=ERROR msg=\"task finished\"") == 2 &&
			strings.Contains(log, "directories_missing=2")
	})
	accepted := s.accept(purge.Submission{User: users[1], AcceptMissing: "alice@ops"})
	done := s.await(purge.Done, accepted[0])[0]
	if done.Reason != purge.ReasonFilesMissing || done.ReferencesCleared != 2 || done.DirectoriesMissing != 2 ||
		done.Attempts != 2 {
		t.Errorf("accepted: got %+v, want done: files_missing", done)
	}
	var accepters []string
	err := s.store.EachEvidence(t.Context(), mysql.EvidenceFilter{User: users[1]}, func(e mysql.EvidenceRecord) error {
		if e.Outcome == purge.MissingAccepted {
			accepters = append(accepters, e.AcceptedBy)
		}
		return nil
	})
	if err != nil || strings.Join(accepters, " ") != "alice@ops alice@ops" {
		t.Errorf("got %v, %v; want the evidence to say twice who accepted", accepters, err)
	}
	if err := worker.stop(); err != nil {
		t.Fatal(err)
	}
	if log := worker.log.String(); !strings.Contains(log, "level=WARN msg=\"task finished\"") {
		t.Error("the log has no warning about what was accepted")
	}
	s.cfg.Locations[0].VerifyDir = "cert"
	s.start()
	mended := s.await(purge.Done, s.enqueue(users[0])...)[0]
	if mended.Reason != "" || mended.ObjectsErased != 8 || mended.DirectoriesMissing != 0 {
		t.Errorf("fixed: got %+v, want plainly done", mended)
	}
	s.checkErased(users[0])
}

// TestWorkerPausesWhenTheFirstUsersFindNothing points the location at other files in the same bucket.
func TestWorkerPausesWhenTheFirstUsersFindNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.cfg.Locations[0].ObjectPrefix = "other/"
	s.cfg.Locations[0].URLPrefixes = []string{"https://storage.googleapis.com/certs/"}
	s.cfg.Queue.Concurrency = 1
	var users []purge.UserID
	for range 14 {
		users = append(users, s.addUser())
	}
	worker := s.start()
	ids := s.enqueue(users...)
	sandboxtest.Eventually(t, "the worker says that the location is wrong", func() bool {
		status, body := worker.health()
		return status == http.StatusServiceUnavailable && strings.Contains(body, "location main: the first 10 users "+
			"had no files")
	})
	if err := worker.stop(); err != nil {
		t.Fatal(err)
	}
	rows, err := s.store.Requests(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	for _, r := range rows {
		if r.ReferencesCleared != 0 {
			t.Errorf("request %d cleared %d links", r.ID, r.ReferencesCleared)
		}
		if r.State == purge.Failed {
			failed++
		}
	}
	if failed != 10 {
		t.Errorf("%d requests failed, want 10 and the others waiting", failed)
	}
	s.cfg.Locations[0].ObjectPrefix = ""
	s.cfg.Queue.Concurrency = 8
	s.start()
	s.await(purge.Done, s.enqueue(users...)...)
	s.checkErased(users...)
}
