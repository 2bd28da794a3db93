package main

import (
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/evidence"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// TestTheEvidenceStandsAlone purges a user and reads the record of it.
func TestTheEvidenceStandsAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.cfg.Evidence.AnchorInterval = time.Hour
	user := s.addUser()
	worker := s.start()
	request := s.enqueue(user)[0]
	s.await(purge.Done, request)
	if err := worker.stop(); err != nil {
		t.Fatal(err)
	}
	var parts []evidence.Part
	for _, row := range s.db.DumpTable(t, s.db.Ledger+".evidence_documents") {
		d, err := evidence.Decode([]byte(row["document"]))
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, d.Part)
		if d.Request.ID != request || d.Request.UserID != user || d.Request.Source != purge.SourceCLI ||
			d.Request.RequestedAt == nil || d.Began == nil || d.At.Before(*d.Began) || d.Software != cli.Version() ||
			!strings.Contains(d.Worker, "pid ") {
			t.Errorf("%s: got %+v", d.Part, d)
		}
		if d.Part == evidence.Record {
			checkRecord(t, d)
		}
	}
	if len(parts) != 2 || parts[0] != evidence.Intents || parts[1] != evidence.Record {
		t.Errorf("got documents %v", parts)
	}
	if log := worker.log.String(); strings.Count(log, `msg="evidence anchored"`) == 0 {
		t.Error("the log names no anchor")
	}
	v, err := s.store.Verify(t.Context(), nil, func(trouble evidence.Trouble) error {
		t.Errorf("verifying: %+v", trouble)
		return nil
	})
	if err != nil || v.Documents != 2 || v.Anchors == 0 || v.Unanchored != 0 {
		t.Errorf("got %+v, %v; want all anchored when the worker has stopped", v, err)
	}
}

func checkRecord(t *testing.T, d *evidence.Document) {
	t.Helper()
	if len(d.Buckets) != 1 || d.Buckets[0].Name != "certs" || d.Buckets[0].ReadAt == nil {
		t.Errorf("got buckets %+v", d.Buckets)
	}
	files, cleared := 0, 0
	for _, dir := range d.Directories {
		if len(dir.Listings) != 2 || dir.Listings[0].Generations != len(dir.Generations) || dir.Listings[1].Generations != 0 ||
			!dir.Proven {
			t.Errorf("got directory %+v", dir)
		}
		for _, l := range dir.Listings {
			if l.Began.Before(*d.Began) || l.Ended.Before(l.Began) || l.Pages != 1 {
				t.Errorf("got listing %+v", l)
			}
		}
		for _, g := range dir.Generations {
			files++
			if g.Outcome != purge.Erased || g.Size == 0 || g.Number == "" {
				t.Errorf("got generation %+v", g)
			}
		}
	}
	for _, l := range d.Links {
		cleared += l.Cleared
	}
	if files != 8 || cleared != 2 || d.State != purge.Done {
		t.Errorf("got %d files, %d references, %s", files, cleared, d.State)
	}
}

// TestEvidenceIsAnchoredWhileTheWorkerRuns has two workers take turns.
func TestEvidenceIsAnchoredWhileTheWorkerRuns(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.cfg.Evidence.AnchorInterval = 100 * time.Millisecond
	one, other := s.start(), s.start()
	s.await(purge.Done, s.enqueue(s.addUser(), s.addUser())...)
	sandboxtest.Eventually(t, "an anchor is logged", func() bool {
		return strings.Contains(one.log.String()+other.log.String(), `msg="evidence anchored"`)
	})
	sandboxtest.Eventually(t, "all is anchored", func() bool {
		v, err := s.store.Verify(t.Context(), nil, func(trouble evidence.Trouble) error {
			t.Errorf("verifying: %+v", trouble)
			return nil
		})
		return err == nil && v.Documents >= 4 && v.Unanchored == 0
	})
}
