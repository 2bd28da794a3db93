package dataset_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/demo/dataset"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m)) }

// stored is a site that was seeded.
type stored struct {
	*dataset.Dataset

	db     *sandboxtest.Database
	server *gcstest.Server
	base   string
	want   dataset.Expected
}

func store(t *testing.T, data *dataset.Dataset) stored {
	t.Helper()
	s := stored{Dataset: data, db: sandboxtest.MySQL(t, lms.Mixed), server: gcstest.New()}
	base, stop, err := s.server.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	s.base = base
	if s.want, err = data.Seed(t.Context(), s.db.Root, s.db.LMS, s.server, base); err != nil {
		t.Fatal(err)
	}
	return s
}

// kinds are how many users there are of each kind.
func kinds(data *dataset.Dataset) map[string]int {
	n := map[string]int{}
	for i := range data.Users {
		n[data.Users[i].Kind]++
	}
	return n
}

func TestAwkwardUsersComeOnTop(t *testing.T) {
	t.Parallel()
	few, many := kinds(dataset.New(1, 10)), kinds(dataset.New(1, 1000))
	if few["retiring"] != 10 || many["retiring"] != 1000 {
		t.Errorf("ordinary users: got %d and %d, want 10 and 1000", few["retiring"], many["retiring"])
	}
	for kind, n := range few {
		if n == 0 || many[kind] < n {
			t.Errorf("%s: got %d users beside 10 ordinary ones and %d beside 1000", kind, n, many[kind])
		}
	}
}

func TestOrdinaryUsersHaveThreeCertificatesOfFourFiles(t *testing.T) {
	t.Parallel()
	one, two := dataset.New(1, 100).Figures(), dataset.New(1, 200).Figures()
	if got, want := two.Certificates-one.Certificates, 300; got != want {
		t.Errorf("certificates of 100 users: got %d, want %d", got, want)
	}
	if got, want := two.Files-one.Files, 1200; got != want {
		t.Errorf("files of 100 users: got %d, want %d", got, want)
	}
}

func TestTheSameSeedMakesTheSameSite(t *testing.T) {
	t.Parallel()
	one, two, other := store(t, dataset.New(5, 10)), store(t, dataset.New(5, 10)), store(t, dataset.New(6, 10))
	for _, table := range []string{lms.Users, lms.RetirementStatus, lms.RetirementRequest, lms.Certificates, lms.History} {
		rows := one.db.DumpTable(t, table)
		if diff := cmp.Diff(rows, two.db.DumpTable(t, table)); diff != "" {
			t.Errorf("%s with the same seed (-one +two):\n%s", table, diff)
		}
		if table == lms.Certificates && cmp.Equal(rows, other.db.DumpTable(t, table)) {
			t.Errorf("%s: got the same with another seed", table)
		}
	}
	for _, bucket := range dataset.Buckets() {
		if diff := cmp.Diff(one.names(bucket), two.names(bucket)); diff != "" {
			t.Errorf("bucket %s with the same seed (-one +two):\n%s", bucket, diff)
		}
	}
}

// names are the names in a bucket, once for each generation.
func (s stored) names(bucket string) []string {
	var names []string
	for _, o := range s.server.Objects(bucket, "") {
		names = append(names, o.Name)
	}
	return names
}

func TestRetiringUsersAreInEveryStateThatCannotBeCancelled(t *testing.T) {
	t.Parallel()
	s := store(t, dataset.New(1, 40))
	seen := map[string]bool{}
	for i := range s.Users {
		u := &s.Users[i]
		seen[u.State] = true
		if u.Retiring && (u.State == "PENDING" || u.State == "ABORTED") {
			t.Errorf("%v is %s", u, u.State)
		}
	}
	for _, row := range s.db.DumpTable(t, lms.RetirementStates) {
		if !seen[row["state_name"]] {
			t.Errorf("no user is %s", row["state_name"])
		}
	}
	if !seen[""] {
		t.Error("no status row is cleaned up")
	}
}

func TestEveryEndIsExpectedOfSomebody(t *testing.T) {
	t.Parallel()
	s := store(t, dataset.New(1, 1))
	if got, want := len(s.want.Ends), len(s.Enqueued()); got != want {
		t.Errorf("ends: got %d, want one for each of the %d users who are enqueued", got, want)
	}
	for _, want := range []dataset.End{
		{State: purge.Done},
		{State: purge.Done, Reason: purge.ReasonNothingToPurge},
		{State: purge.Refused, Reason: purge.ReasonNotRetiring},
		{State: purge.Failed, Reason: purge.ReasonHeld},
		{State: purge.Failed, Reason: purge.ReasonUnrecognised},
		{State: purge.Failed, Reason: purge.ReasonShared},
		{State: purge.Failed, Reason: purge.ReasonFilesMissing},
		{State: purge.Done, Reason: purge.ReasonFilesMissing},
		{State: purge.Queued, Reason: purge.ReasonRetained},
	} {
		n := 0
		for _, end := range s.want.Ends {
			if end == want {
				n++
			}
		}
		if n == 0 {
			t.Errorf("%v: got no user", want)
		}
	}
}

// TestOnlyRetiringUsersLoseAnything looks at what is expected, with the eyes of the LMS's own tables.
func TestOnlyRetiringUsersLoseAnything(t *testing.T) {
	t.Parallel()
	s := store(t, dataset.New(1, 5))
	retiring := map[int]bool{}
	for i := range s.Users {
		retiring[s.Users[i].ID] = s.Users[i].Retiring
	}
	for what, users := range map[string][]int{
		"generations": values(s.want.Erased), "rows": values(s.want.Cleared), "kept rows": values(s.want.Kept),
		"kept generations": values(s.want.HeldBack),
	} {
		for _, id := range users {
			if !retiring[id] {
				t.Errorf("%s of user %d, who is not retiring", what, id)
			}
		}
		if len(users) == 0 {
			t.Errorf("%s: got none", what)
		}
	}
	noncurrent := 0
	for _, bucket := range dataset.Buckets() {
		for _, o := range s.server.Objects(bucket, "") {
			if _, ok := s.want.Erased[dataset.Generation{Bucket: o.Bucket, Name: o.Name, Number: o.Generation}]; ok && !o.Live {
				noncurrent++
			}
		}
	}
	if noncurrent == 0 {
		t.Error("noncurrent generations to erase: got none")
	}
}

func values[K comparable](m map[K]int) []int {
	var all []int
	for _, v := range m {
		all = append(all, v)
	}
	return all
}

// TestTheLocationsNameEveryURL keeps the site and the worker's configuration for it together.
func TestTheLocationsNameEveryURL(t *testing.T) {
	t.Parallel()
	locations, err := purge.NewLocations(dataset.Locations(), dataset.ExternalPrefixes()...)
	if err != nil {
		t.Fatal(err)
	}
	s := store(t, dataset.New(1, 3))
	understood, not := 0, 0
	for table, key := range map[string]string{lms.Certificates: "id", lms.History: "history_id"} {
		for _, r := range s.db.DumpTable(t, table) {
			if len(r["download_url"]) > 128 || len(r["download_uuid"]) > 32 {
				t.Errorf("%s %s does not fit its columns", table, r[key])
			}
			if r["download_url"] == "" && r["download_uuid"] == "" {
				continue
			}
			_, err := locations.Resolve(purge.Reference{
				DownloadUUID: r["download_uuid"], VerifyUUID: r["verify_uuid"], DownloadURL: r["download_url"],
			})
			if err == nil {
				understood++
			} else {
				not++
			}
		}
	}
	// Two users with a foreign bucket (each in the history, too), two with an odd id, and two with one id twice.
	if understood == 0 || not != 8 {
		t.Errorf("references: got %d understood and %d not, want some and 8", understood, not)
	}
}

func TestPersonsAreInvented(t *testing.T) {
	t.Parallel()
	s := store(t, dataset.New(1, 3))
	address := regexp.MustCompile(`^(learner\d+@example\.com|retired__user_[0-9a-f]{40}@retired\.invalid)$`)
	for _, r := range s.db.DumpTable(t, lms.Users) {
		if !address.MatchString(r["email"]) {
			t.Errorf("user %s: the address is not of a domain that cannot exist", r["id"])
		}
	}
	emptied := slices.ContainsFunc(s.db.DumpTable(t, lms.Certificates),
		func(r map[string]string) bool { return r["name"] == "" })
	named := slices.ContainsFunc(s.db.DumpTable(t, lms.Certificates),
		func(r map[string]string) bool { return strings.Contains(r["name"], " ") })
	if !emptied || !named {
		t.Errorf("names in certificates: got emptied %v and there %v, want both", emptied, named)
	}
}

func BenchmarkSeed(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		data := dataset.New(1, 1000)
		db := sandboxtest.MySQL(b, lms.Mixed)
		server := gcstest.New()
		base, stop, err := server.Start()
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if _, err := data.Seed(b.Context(), db.Root, db.LMS, server, base); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		stop()
		b.StartTimer()
	}
}
