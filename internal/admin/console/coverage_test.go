package console_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/inventory"
	"github.com/certpurge/certpurge/internal/login"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

func TestCoverageNamesTheUsers(t *testing.T) {
	t.Parallel()
	o := newOffice(t, mysql.RoleEnqueuer, "")
	never := o.db.AddRetiringUser(t, "a", "RETIRING_LMS")
	failed, _ := o.user("b", held)
	for _, user := range []int{never, int(failed)} {
		o.db.AddCertificate(t, certificateOf(user))
	}
	v := o.as("alice", login.View)
	sandboxtest.Eventually(t, "it is counted", func() bool {
		_, read := v.get(http.StatusOK, "/coverage")
		return strings.Contains(read, "2 users")
	})
	body, read := v.get(http.StatusOK, "/coverage")
	wants(t, "the page", read, "never requested 1", "failed: held 1")
	wants(t, "the page's links", body, fmt.Sprintf(`href="/users/%d"`, never), fmt.Sprintf(`href="/users/%d"`, failed),
		`href="/requests?state=failed&amp;reason=held"`)
}

func TestInventoryIsShown(t *testing.T) {
	t.Parallel()
	o := newOffice(t, mysql.RoleEnqueuer, "")
	v := o.as("alice", login.View)
	_, read := v.get(http.StatusOK, "/inventory")
	wants(t, "the page", read, "No inventory was taken yet.")
	old := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	sums := []inventory.Sum{
		{Class: inventory.Live, Directories: 700, Objects: 1400, Bytes: 1 << 30, Oldest: &old, Newest: &old},
		{Class: inventory.Orphan, Directories: 2_000, Objects: 3, Bytes: 4096},
	}
	add := func(complete bool, kept inventory.Kept) {
		text, err := json.Marshal(kept)
		if err != nil {
			t.Fatal(err)
		}
		err = o.root.AddInventory(t.Context(), mysql.Inventory{
			Started: old, Ended: old.Add(time.Hour), Software: "certpurge 1.2.3", Complete: complete, Report: text,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	add(true, inventory.Kept{
		Report: inventory.Report{Sums: sums, Buckets: []inventory.BucketSums{{Bucket: "certs", Sums: sums}}},
		Doubts: []string{"2,000 directories are orphan"},
		Names:  []inventory.Directory{{Class: inventory.Orphan, Bucket: "certs", Name: "downloads/<b>/", Objects: 3, Bytes: 4096}},
	})
	add(false, inventory.Kept{Failed: "bucket certs: connection reset"})
	body, read := v.get(http.StatusOK, "/inventory")
	wants(t, "the page", read, "The latest run failed bucket certs: connection reset", "2,000 directories It cannot be stated",
		"2,000 directories are orphan", "Bucket certs", "live 700 1,400 1.0 GiB 2026-01-02 03:04", "orphan 2,000 3 4.0 KiB",
		"orphan: the first 1 of 2,000", "gs://certs/downloads/<b>/", "certpurge 1.2.3")
	lacks(t, "the page", body, "<b>")
	add(true, inventory.Kept{Report: inventory.Report{Sums: sums[:1]}})
	_, read = v.get(http.StatusOK, "/inventory")
	wants(t, "the page", read, "0 directories No file of a retired user was left")
	lacks(t, "the page", read, "latest run failed")
}
