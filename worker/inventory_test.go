package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/inventory"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// inventoried is the figures of a class that do not depend on the time.
type inventoried struct{ Directories, Objects int64 }

// inventory takes the inventory, and returns what is not empty.
func (s *site) inventory(args ...string) (code int, classes map[inventory.Class]inventoried, r inventory.Report) {
	s.t.Helper()
	code, out, said := s.command(append([]string{"inventory", "-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		s.t.Fatalf("got exit code %d, %q and %q: %v", code, out, said, err)
	}
	classes = map[inventory.Class]inventoried{}
	for _, sum := range r.Sums {
		if sum.Directories > 0 {
			classes[sum.Class] = inventoried{sum.Directories, sum.Objects}
		}
	}
	return code, classes, r
}

func (s *site) put(name string) {
	s.t.Helper()
	_, err := s.bucket.Put("certs", name, []byte("personal"), gcstest.ObjectOptions{})
	must(s.t, err)
}

// unlink clears the links of a user as the LMS's own command does: without deleting a file.
func (s *site) unlink(user purge.UserID) {
	s.t.Helper()
	for _, table := range []string{"certificates_generatedcertificate", "certificates_historicalgeneratedcertificate"} {
		s.db.Exec(s.t, fmt.Sprintf("UPDATE %s.%s SET download_uuid = '', download_url = '' WHERE user_id = %d", s.db.LMS,
			table, user))
	}
}

func TestInventoryPutsEveryDirectoryIntoItsClass(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.age.Store(3600)
	back := s.addUser()
	worker := s.start()
	s.await(purge.Done, s.enqueue(back)...)
	must(t, worker.stop())
	if code, classes, _ := s.inventory("--min-age", "1m"); code != cli.ExitOK || len(classes) > 0 {
		t.Errorf("an empty bucket: got exit code %d and %v", code, classes)
	}
	s.put("downloads/" + s.id(int(back)*10) + "/Certificate.pdf") // a backup is restored
	// what was erased had this id, but was not there: an orphan
	s.put("cert/" + s.id(int(back)*10) + "/Certificate.pdf")

	s.addUser() // due
	live := s.db.AddUser(t, "bystander")
	s.db.AddCertificate(t, sandboxtest.Certificate{UserID: live, DownloadUUID: s.id(77), VerifyUUID: s.id(78)})
	s.put("downloads/" + s.id(77) + "/Certificate.pdf")
	s.put("cert/" + s.id(78) + "/valid.html")
	// files are gone
	s.db.AddHistory(t, sandboxtest.HistoryRow{Certificate: sandboxtest.Certificate{
		UserID: live, DownloadUUID: s.id(80),
		VerifyUUID: s.id(81),
	}})
	s.unlink(s.addUser())          // orphans: four directories, eight files
	s.put("downloads/" + s.id(90)) // an object beside the directories
	s.put("downloads/" + s.id(90)[:31] + "A/Certificate.pdf")
	s.put("downloads/notes/learner7.txt")
	s.put("elsewhere/" + s.id(77) + "/Certificate.pdf") // below no location
	s.age.Store(0)
	s.put("downloads/" + s.id(91) + "/Certificate.pdf")

	code, classes, r := s.inventory("--min-age", "1m")
	want := map[inventory.Class]inventoried{
		inventory.Live: {2, 2}, inventory.Due: {4, 8}, inventory.BackAgain: {1, 1}, inventory.Orphan: {5, 9},
		inventory.Young: {1, 1}, inventory.Odd: {3, 3},
	}
	if diff := cmp.Diff(want, classes); diff != "" || code != cli.ExitNotDone {
		t.Errorf("got exit code %d and\n%s", code, diff)
	}
	if r.References != 4 || r.MissingDownloads != 1 || r.MissingVerifications != 1 || r.NotUnderstood != 0 ||
		r.Retiring != 3 {
		t.Errorf("got %+v", r)
	}
	code, out, said := s.command("inventory", "--min-age", "1m")
	for _, text := range []string{
		"It cannot be stated", "4 directories are due", "1 directory is back_again", "5 directories are orphan",
		"3 directories are odd",
		"1 downloads and 1 verification directories that they name hold nothing", "4 rows of the LMS hold a link",
	} {
		if !strings.Contains(out, text) {
			t.Errorf("got exit code %d, %s and\n%s\nwithout %q", code, said, out, text)
		}
	}
	if personal := strings.Contains(out+said, "learner"); personal {
		t.Errorf("it prints a name: %s", out)
	}
}

func TestInventoryListsTheDirectoriesOfAClass(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.age.Store(3600)
	orphan := s.addUser()
	s.unlink(orphan)
	code, out, said := s.command("inventory", "--min-age", "1m", "--list", "orphan")
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || code != cli.ExitNotDone || len(rows) != 5 || !strings.Contains(said, "4 directories are orphan") {
		t.Fatalf("got exit code %d, %v, %q and %q", code, err, out, said)
	}
	if got, want := rows[1][2], "downloads/"+s.id(int(orphan)*10)+"/"; got != want || rows[1][3] != "1" {
		t.Errorf("got %v, want %s", rows[1], want)
	}
	_, out, _ = s.command("inventory", "--min-age", "1m", "--list", "orphan", "-o", "json")
	var first inventory.Directory
	if err := json.Unmarshal([]byte(strings.SplitN(out, "\n", 2)[0]), &first); err != nil || first.Name != rows[1][2] ||
		first.Bucket != "certs" {
		t.Errorf("got %q, %v", out, err)
	}
}

// TestWhatChangesWhileTheInventoryRunsIsNoOrphan makes certificates and has a user purged when the first root has been
// listed.
func TestWhatChangesWhileTheInventoryRunsIsNoOrphan(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.age.Store(3600)
	purged := s.addUser()
	s.addUser()
	s.start()
	var once sync.Once
	s.bucket.SetHook(func(op, _, name string) {
		if op != gcstest.OpList || name != "cert/" {
			return
		}
		once.Do(func() {
			s.await(purge.Done, s.enqueue(purged)...)
			s.age.Store(0)
			s.addUser()
			s.put("cert/" + s.id(4711) + "/valid.html") // its link comes later
		})
	})
	code, classes, _ := s.inventory("--min-age", "0s")
	want := map[inventory.Class]inventoried{
		inventory.Due: {6, 14}, inventory.Young: {1, 1}, inventory.Purged: {2, 2},
	}
	if diff := cmp.Diff(want, classes); diff != "" || code != cli.ExitNotDone {
		t.Errorf("got exit code %d and\n%s", code, diff)
	}
}

// TestAListingThatBreaksSaysNothing breaks the listing in the middle, and goes on with a checkpoint.
func TestAListingThatBreaksSaysNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.cfg.GCS.MaxTries = 1
	s.age.Store(3600)
	s.addUser()
	for n := range 1400 { // two pages of downloads, and one of the others
		s.put("downloads/" + s.id(5_000_000+n) + "/Certificate.pdf")
	}
	whole, want, _ := s.inventory("--min-age", "1m")
	if whole != cli.ExitNotDone {
		t.Fatalf("got exit code %d", whole)
	}
	file := filepath.Join(t.TempDir(), "checkpoint")
	s.bucket.SetFaults(1, gcstest.Fault{Op: gcstest.OpList, Prefix: "downloads/", Skip: 1, Status: 503})
	code, out, said := s.command("inventory", "--min-age", "1m", "--checkpoint", file)
	if code == cli.ExitOK || code == cli.ExitNotDone || out != "" || !strings.Contains(said, "nothing can be said yet") ||
		!strings.Contains(said, file) {
		t.Errorf("a broken listing: got exit code %d, %q and %q", code, out, said)
	}
	s.bucket.SetFaults(1)
	text, err := os.ReadFile(file)
	must(t, err)
	if lines := strings.Count(string(text), "\n"); lines < 500 {
		t.Errorf("the checkpoint has %d lines", lines)
	}
	must(t, os.WriteFile(file, append(text, "0 1 23 45"...), 0o600)) // a crash cuts the last line
	listed := s.bucket.Stats().Lists
	_, got, _ := s.inventory("--min-age", "1m", "--checkpoint", file)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("gone on with: %s", diff)
	}
	if lists := s.bucket.Stats().Lists - listed; lists != 2 {
		t.Errorf("going on took %d listings, want one of downloads and one of cert", lists)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the checkpoint is left: %v", err)
	}
	must(t, os.WriteFile(file, text, 0o600))
	s.cfg.Locations[0].VerifyDir = "other"
	if code, _, said := s.command("inventory", "--checkpoint", file); code != cli.ExitUsage ||
		!strings.Contains(said, "of another inventory") {
		t.Errorf("another site's checkpoint: got exit code %d and %q", code, said)
	}
}

// TestInventoryIsKeptInTheLedger takes one that is complete, one that fails, and one without the right to write it.
func TestInventoryIsKeptInTheLedger(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.age.Store(90 * 24 * 3600)
	s.addUser()
	orphan := "downloads/" + s.id(77) + "/"
	s.put(orphan + "Certificate.pdf")
	s.inventory()
	kept := func(id int64) (k inventory.Kept) {
		text, err := s.store.InventoryReport(t.Context(), id)
		if err == nil {
			err = json.Unmarshal(text, &k)
		}
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	runs, err := s.store.Inventories(t.Context(), 5)
	if err != nil || len(runs) != 1 || !runs[0].Complete || runs[0].Software == "" || runs[0].Ended.Before(runs[0].Started) {
		t.Fatalf("got %+v, %v", runs, err)
	}
	k := kept(runs[0].ID)
	names := map[inventory.Class][]string{}
	for _, d := range k.Names {
		names[d.Class] = append(names[d.Class], d.Bucket+"/"+d.Name)
	}
	if len(k.Doubts) == 0 || len(k.Buckets) != 1 || k.Buckets[0].Bucket != "certs" || k.Sum(inventory.Orphan).Objects != 1 ||
		cmp.Diff(k.Buckets[0].Sums, k.Sums) != "" || len(names[inventory.Due]) != 4 ||
		cmp.Diff(names[inventory.Orphan], []string{"certs/" + orphan}) != "" {
		t.Errorf("got %+v, names %v", k, names)
	}
	s.bucket.SetFaults(1, gcstest.Fault{Op: gcstest.OpList, Prefix: "downloads/", Status: 403})
	if code, _, said := s.command("inventory"); code == cli.ExitOK {
		t.Errorf("a listing that failed: %q", said)
	}
	if runs, err = s.store.Inventories(t.Context(), 5); err != nil || len(runs) != 2 || runs[0].Complete ||
		kept(runs[0].ID).Failed == "" {
		t.Errorf("got %+v, %v", runs, err)
	}
	s.bucket.SetFaults(1)
	s.db.Exec(t, "REVOKE INSERT ON "+s.db.Ledger+".inventories FROM '"+s.accounts.Worker.Name+"'@'%'")
	code, out, said := s.command("inventory")
	if code != cli.ExitNotDone || !strings.Contains(out, "CLASS") ||
		!strings.Contains(said, "the result is not kept in the ledger") {
		t.Errorf("without the right: got exit code %d, %q, %q", code, out, said)
	}
}
