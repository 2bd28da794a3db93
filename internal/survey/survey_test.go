package survey

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/purge"
)

func TestBucketsAreGuessedFromTheFormOfLinks(t *testing.T) {
	t.Parallel()
	for prefix, want := range map[string][2]string{
		"s3.amazonaws.com/verify.edx.org/downloads/":                    {"verify.edx.org", "downloads/"},
		"s3-eu-west-1.amazonaws.com/certs/a/downloads/":                 {"certs", "a/downloads/"},
		"s3.eu-central-1.amazonaws.com/certs/downloads/":                {"certs", "downloads/"},
		"s3.dualstack.us-west-2.amazonaws.com/certs/downloads/":         {"certs", "downloads/"},
		"s3.cn-north-1.amazonaws.com.cn/certs/downloads/":               {"certs", "downloads/"},
		"certs.s3.amazonaws.com/downloads/":                             {"certs", "downloads/"},
		"verify.example.org.s3.amazonaws.com/downloads/":                {"verify.example.org", "downloads/"},
		"certs.s3-eu-west-1.amazonaws.com/downloads/":                   {"certs", "downloads/"},
		"certs.s3.eu-central-1.amazonaws.com/downloads/":                {"certs", "downloads/"},
		"certs.s3.dualstack.eu-central-1.amazonaws.com/downloads/":      {"certs", "downloads/"},
		"certs.s3-website-us-east-1.amazonaws.com/downloads/":           {"certs", "downloads/"},
		"certs.s3-website.eu-central-1.amazonaws.com/downloads/":        {"certs", "downloads/"},
		"storage.googleapis.com/certs/from-s3/downloads/":               {"certs", "from-s3/downloads/"},
		"certs.storage.googleapis.com/downloads/":                       {"certs", "downloads/"},
		"commondatastorage.googleapis.com/certs/downloads/":             {"certs", "downloads/"},
		"gs://certs/downloads/":                                         {"certs", "downloads/"},
		"verify.edx.org/downloads/":                                     {"verify.edx.org", "downloads/"},
		"localhost:18090/downloads/":                                    {"", "downloads/"},
		"lms/downloads/":                                                {"", "downloads/"},
		"/downloads/":                                                   {"", "downloads/"},
		"s3.amazonaws.com/Not_A_Bucket_Of_Google/downloads/":            {"", "downloads/"},
		"evil.example.com.s3.amazonaws.com.attacker.example/downloads/": {"evil.example.com.s3.amazonaws.com.attacker.example", "downloads/"},
	} {
		if bucket, path := guessBucket(prefix); bucket != want[0] || path != want[1] {
			t.Errorf("%s: got %q and %q, want %q", prefix, bucket, path, want)
		}
	}
}

func TestLinksAreWrittenAsTheyAreRead(t *testing.T) {
	t.Parallel()
	for _, link := range []string{
		"https://certs.example.org/a/", "http://localhost:18090/", "http://host:443/", "https://lms/", "/", "/media/",
		"gs://certs/",
		"https://example.org/a b/100%25/x%3Fy/",
	} {
		norm, err := purge.NormalLink(link)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := purge.NormalLink(written(norm)); err != nil || again != norm {
			t.Errorf("%s: got %s, which is %q, %v", link, written(norm), again, err)
		}
	}
}

// made is an LMS of invented links.
type made struct {
	n    int
	link func(i int) (purge.UserID, purge.Reference)
}

func (m made) EachReference(_ context.Context, do func(purge.UserID, purge.Reference) error) error {
	for i := range m.n {
		user, ref := m.link(i)
		if err := do(user, ref); err != nil {
			return err
		}
	}
	return nil
}

func (made) EachRetiree(_ context.Context, do func(purge.Retiree) error) error {
	for id := purge.UserID(1); id <= 2_500; id++ {
		retirement := purge.Retirement{UserExists: true, Requested: true}
		if err := do(purge.Retiree{User: id, Retirement: retirement}); err != nil {
			return err
		}
	}
	return nil
}

func (made) Emptied(context.Context, purge.UserID, []purge.Directory) ([]purge.Directory, error) {
	return nil, nil
}

// empty are buckets that hold nothing, and one that cannot be listed.
type empty struct{}

func (empty) List(context.Context, purge.Directory) ([]purge.Generation, error) { return nil, nil }

func (empty) Holds(_ context.Context, dir purge.Directory) (bool, error) {
	if dir.Bucket == "closed.example.org" {
		return false, errors.New("answer 403")
	}
	return false, nil
}

func (empty) Directories(context.Context, string, string) ([]string, error) { return nil, nil }

func (m made) survey(sample int, buckets ...string) Survey {
	return Survey{
		Database: m, Objects: empty{}, Lister: empty{}, Sample: sample, Buckets: buckets,
		Eligible: func(r purge.Retirement) bool { return r.Requested },
	}
}

func hexID(i int) string { return fmt.Sprintf("%032x", i) }

// TestASurveyIsBounded reads a million links of as many users that begin in more ways than can be told apart.
func TestASurveyIsBounded(t *testing.T) { //nolint:paralleltest // it measures the memory of the process
	m := made{n: 1_000_000, link: func(i int) (purge.UserID, purge.Reference) {
		return purge.UserID(i + 1), purge.Reference{
			RowID: int64(i), DownloadUUID: hexID(i),
			DownloadURL: fmt.Sprintf("https://h%d.example.net/downloads/%s/Certificate.pdf", i%1_500, hexID(i)),
		}
	}}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	look := m.survey(0)
	peak := uint64(0)
	look.Progress = func(links int) {
		if links < m.n {
			return
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		peak = after.HeapAlloc
	}
	r, err := look.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Links != m.n || r.Users != m.n || r.Retiring != 2_500 || len(r.Groups) != maxGroups+1 {
		t.Errorf("got %d links, %d users, %d retiring, %d groups", r.Links, r.Users, r.Retiring, len(r.Groups))
	}
	links := 0
	for _, g := range r.Groups {
		links += g.Links
	}
	if rest := r.Groups[0]; links != m.n || !rest.More || rest.Links < 300_000 {
		t.Errorf("got %d links in all groups, and first %+v", links, rest)
	}
	used := (int64(peak) - int64(before.HeapAlloc)) >> 20 //nolint:gosec // bytes in memory
	t.Logf("%d MiB in use", used)
	if used > 20 {
		t.Errorf("got %d MiB in use, want far less than the 64 of the process that --help promises", used)
	}
}

func TestASampleIsSpreadAndHasEachFileOnce(t *testing.T) {
	t.Parallel()
	const files = 10_000
	m := made{n: 2 * files, link: func(i int) (purge.UserID, purge.Reference) { // each live, and in the history
		ref := purge.Reference{
			Table: purge.Live, RowID: int64(i), DownloadUUID: hexID(i % files),
			DownloadURL: "https://x.example.org/downloads/" + hexID(i%files) + "/c.pdf",
		}
		if i >= files {
			ref.Table = purge.History
		}
		return purge.UserID(i%files + 1), ref
	}}
	r, err := func() (*Report, error) { s := m.survey(40); return s.Run(t.Context()) }()
	if err != nil || len(r.Groups) != 1 {
		t.Fatalf("got %v, %v", r, err)
	}
	seen, low := map[string]bool{}, 0
	for _, one := range r.Groups[0].sample {
		seen[one.id] = true
		if one.ref.RowID%files < files/2 {
			low++
		}
	}
	if len(seen) != 40 || low < 10 || low > 30 {
		t.Errorf("got %d files, %d of them in the first half", len(seen), low)
	}
}

func TestWhatCouldNotBeLookedIntoIsSaid(t *testing.T) {
	t.Parallel()
	m := made{n: 1, link: func(int) (purge.UserID, purge.Reference) {
		return 1, purge.Reference{
			DownloadUUID: hexID(1),
			DownloadURL:  "https://closed.example.org/downloads/" + hexID(1) + "/c.pdf",
		}
	}}
	look := m.survey(5, "other")
	r, err := look.Run(t.Context())
	if err != nil || len(r.Findings) != 1 || !strings.Contains(r.Findings[0].Text,
		"not looked up: closed.example.org (answer 403)") {
		t.Fatalf("got %+v, %v", r, err)
	}
	if s := look.Suggest(r); len(s.Undecided) != 1 || len(s.Locations)+len(s.External) != 0 {
		t.Errorf("got %+v, want it undecided", s)
	}
}
