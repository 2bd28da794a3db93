package mysql_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// TestReferencedFindsAnIDInEveryColumn: one row for each way in which a row of the LMS can hold the id of a directory.
func TestReferencedFindsAnIDInEveryColumn(t *testing.T) {
	t.Parallel()
	s := newFixture(t, lms.Mixed)
	id := func(n int) string { return fmt.Sprintf("%031xa", n) }
	user := s.db.AddUser(t, "ada")
	link := func(id string) string { return "https://example.org/downloads/" + id + "/Certificate.pdf" }
	for _, c := range []sandboxtest.Certificate{
		{DownloadUUID: id(1)},
		{DownloadUUID: id(2), VerifyUUID: id(3)},
		{DownloadURL: link(id(4))},
		{DownloadUUID: id(5), DownloadURL: link(id(6))},
		{DownloadUUID: strings.ToUpper(id(7))},
		{DownloadUUID: "odd", DownloadURL: strings.ToUpper(link(id(8)))},
		{VerifyUUID: id(20)}, // no reference
	} {
		c.UserID = user
		s.db.AddCertificate(t, c)
	}
	s.db.AddHistory(t, sandboxtest.HistoryRow{Certificate: sandboxtest.Certificate{UserID: user, DownloadUUID: id(9)}})
	var asked []string
	for n := 1; n <= 21; n++ {
		asked = append(asked, id(n))
	}
	held, err := s.Referenced(t.Context(), asked)
	if err != nil {
		t.Fatal(err)
	}
	for n, id := range asked {
		if want := n+1 <= 9; held[id] != want {
			t.Errorf("id %d: held %v, want %v", n+1, held[id], want)
		}
	}
	if held, err := s.Referenced(t.Context(), nil); err != nil || len(held) > 0 {
		t.Errorf("no id: got %v, %v", held, err)
	}
}

// TestASetOfOrphansIsWrittenOnce, however many commands write it at the same time.
func TestASetOfOrphansIsWrittenOnce(t *testing.T) {
	t.Parallel()
	s := newFixture(t, lms.Mixed)
	want := purge.OrphanSet{Before: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	for n := range purge.MaxOrphans {
		want.Directories = append(want.Directories, purge.Directory{
			Bucket: "certs",
			Prefix: fmt.Sprintf("downloads/%032x/", n),
		})
	}
	numbers := make([]purge.CertificateID, 8)
	var all sync.WaitGroup
	for i := range numbers {
		all.Go(func() {
			var err error
			if numbers[i], err = s.enqueuer.AddOrphanSet(t.Context(), purge.OrphanKey("f", 0), want); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	other, err := s.enqueuer.AddOrphanSet(t.Context(), purge.OrphanKey("f", 1),
		purge.OrphanSet{Directories: want.Directories[:1]})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range numbers {
		if n != numbers[0] || n == 0 || n == other {
			t.Errorf("got the numbers %v, and %d for another", numbers, other)
			break
		}
	}
	got, err := s.OrphanSet(t.Context(), numbers[0])
	if err != nil || !got.Before.Equal(want.Before) || len(got.Directories) != purge.MaxOrphans ||
		got.Directories[7] != want.Directories[7] {
		t.Errorf("got %d directories before %v, %v", len(got.Directories), got.Before, err)
	}
	if _, err := s.enqueuer.AddOrphanSet(t.Context(), "k", purge.OrphanSet{}); err == nil {
		t.Error("an empty set was written")
	}
	if _, err := s.OrphanSet(t.Context(), 4711); err == nil {
		t.Error("a set that there is not was read")
	}
}
