package purge_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certpurge/certpurge/internal/purge"
)

// resolved is what a reference names, as the list of its directories.
func resolved(l purge.Locations, ref purge.Reference) ([]purge.Directory, error) {
	target, err := l.Resolve(ref)
	return target.Directories(), err
}

func twoLocations(tb testing.TB) purge.Locations {
	tb.Helper()
	l, err := purge.NewLocations([]purge.Location{
		{
			Name: "main", Bucket: "certs", DownloadsDir: "downloads", VerifyDir: "cert",
			URLPrefixes: []string{
				"https://s3.amazonaws.com/verify.example.org/", "//s3.amazonaws.com/verify.example.org/", "gs://certs/",
				"https://cdn.example.org/files/",
			},
		},
		{
			Name: "archive", Bucket: "old-certs", ObjectPrefix: "backup/2014/", DownloadsDir: "dl", VerifyDir: "v",
			URLPrefixes: []string{"//old.example.org/"},
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

const (
	idD = "0123456789abcdef0123456789abcdef"
	idU = "00000000000000000000000000000001"
	idV = "fedcba9876543210fedcba9876543210"
)

func TestDirectoriesOfAReference(t *testing.T) {
	t.Parallel()
	main := func(ids ...string) []string {
		var want []string
		for _, id := range ids {
			want = append(want, "certs|downloads/"+id+"/")
		}
		return append(want, "certs|cert/"+idV+"/")
	}
	long := "https://cdn.example.org/files/downloads/" + idD + "/"
	for name, tc := range map[string]struct {
		ref  purge.Reference
		want []string // nil: unrecognised
	}{
		"S3 path style": {purge.Reference{
			DownloadUUID: idD, VerifyUUID: idV,
			DownloadURL: "https://s3.amazonaws.com/verify.example.org/downloads/" + idD + "/Certificate.pdf",
		}, main(idD)},
		"protocol-relative": {purge.Reference{
			DownloadUUID: idD, VerifyUUID: idV,
			DownloadURL: "//s3.amazonaws.com/verify.example.org/downloads/" + idD + "/Certificate.pdf",
		}, main(idD)},
		"plain http, port, upper-case host": {purge.Reference{
			DownloadUUID: idD, VerifyUUID: idV,
			DownloadURL: "http://CDN.example.org:80/files/downloads/" + idD + "/Certificate.pdf",
		}, main(idD)},
		"Cloud Storage URL": {purge.Reference{
			DownloadUUID: idD, VerifyUUID: idV,
			DownloadURL: "https://storage.googleapis.com/certs/downloads/" + idD + "/Certificate.pdf",
		}, main(idD)},
		"bucket as host": {purge.Reference{
			DownloadUUID: idD, VerifyUUID: idV,
			DownloadURL: "https://certs.storage.googleapis.com/downloads/" + idD + "/x.pdf",
		}, main(idD)},
		"gs URL": {purge.Reference{
			DownloadUUID: idD, VerifyUUID: idV,
			DownloadURL: "gs://certs/downloads/" + idD + "/x.pdf",
		}, main(idD)},
		"other id in the URL": {purge.Reference{
			DownloadUUID: idD, VerifyUUID: idV,
			DownloadURL: "gs://certs/downloads/" + idU + "/x.pdf",
		}, main(idD, idU)},
		"id in the URL only": {
			purge.Reference{VerifyUUID: idV, DownloadURL: "gs://certs/downloads/" + idU + "/x.pdf"},
			main(idU),
		},
		"query is ignored": {purge.Reference{
			DownloadUUID: idD, VerifyUUID: idV,
			DownloadURL: "gs://certs/downloads/" + idD + "/x.pdf?sig=a/../b",
		}, main(idD)},
		"cut off by the column": {
			purge.Reference{DownloadUUID: idD, VerifyUUID: idV, DownloadURL: padded(long, 128)},
			main(idD),
		},
		"no verification": {purge.Reference{
			DownloadUUID: idD, VerifyUUID: "No Verification",
			DownloadURL: "gs://certs/downloads/" + idD + "/x.pdf",
		}, []string{"certs|downloads/" + idD + "/"}},
		"empty verify id": {
			purge.Reference{DownloadUUID: idD, DownloadURL: "gs://certs/downloads/" + idD + "/x.pdf"},
			[]string{"certs|downloads/" + idD + "/"},
		},
		"other location": {
			purge.Reference{DownloadUUID: idD, VerifyUUID: idV, DownloadURL: "https://old.example.org/dl/" + idD + "/x.pdf"},
			[]string{"old-certs|backup/2014/dl/" + idD + "/", "old-certs|backup/2014/v/" + idV + "/"},
		},
		"no URL: every location": {
			purge.Reference{DownloadUUID: idD, VerifyUUID: idV},
			[]string{
				"certs|downloads/" + idD + "/", "certs|cert/" + idV + "/", "old-certs|backup/2014/dl/" + idD + "/",
				"old-certs|backup/2014/v/" + idV + "/",
			},
		},
		"nothing at all": {purge.Reference{VerifyUUID: idV}, nil},
		"foreign bucket": {purge.Reference{
			DownloadUUID: idD,
			DownloadURL:  "gs://others/downloads/" + idD + "/x.pdf",
		}, nil},
		"foreign object prefix": {purge.Reference{
			DownloadUUID: idD,
			DownloadURL:  "gs://old-certs/downloads/" + idD + "/x.pdf",
		}, nil},
		"host that begins alike": {purge.Reference{
			DownloadUUID: idD,
			DownloadURL:  "https://cdn.example.org.evil.example/files/downloads/" + idD + "/x.pdf",
		}, nil},
		"upper-case id": {purge.Reference{
			DownloadUUID: strings.ToUpper(idD),
			DownloadURL:  "gs://certs/downloads/" + idD + "/x.pdf",
		}, nil},
		"dashed id":                   {purge.Reference{DownloadUUID: "01234567-89ab-cdef-0123-456789abcd"}, nil},
		"odd verify id":               {purge.Reference{DownloadUUID: idD, VerifyUUID: "../" + idV[3:]}, nil},
		"no verification, wrong case": {purge.Reference{DownloadUUID: idD, VerifyUUID: "no verification"}, nil},
		"URL outside the directory": {purge.Reference{
			DownloadUUID: idD,
			DownloadURL:  "gs://certs/exports/" + idD + "/x.pdf",
		}, nil},
		"URL without a file": {purge.Reference{VerifyUUID: idV, DownloadURL: "gs://certs/downloads/" + idD}, nil},
		"same, beside its id": {purge.Reference{
			DownloadUUID: idD, VerifyUUID: idV,
			DownloadURL: "gs://certs/downloads/" + idD,
		}, main(idD)},
		"URL of another, no file": {purge.Reference{DownloadUUID: idD, DownloadURL: "gs://certs/downloads/" + idU}, nil},
		"URL with a dot": {purge.Reference{
			DownloadUUID: idD,
			DownloadURL:  "gs://certs/downloads/" + idD + "/./x.pdf",
		}, nil},
		"same ids, the link's": {purge.Reference{
			VerifyUUID:  idU,
			DownloadURL: "gs://certs/downloads/" + idU + "/x.pdf",
		}, nil},
		"same ids": {purge.Reference{
			DownloadUUID: idD, VerifyUUID: idD,
			DownloadURL: "gs://certs/downloads/" + idD + "/x.pdf",
		}, nil},
		"no escape in the file name": {purge.Reference{
			DownloadUUID: idD, VerifyUUID: idV,
			DownloadURL: "gs://certs/downloads/" + idD + "/100%.pdf",
		}, main(idD)},
		"no scheme": {purge.Reference{
			DownloadUUID: idD, VerifyUUID: idV,
			DownloadURL: "cdn.example.org/files/downloads/" + idD + "/x.pdf",
		}, main(idD)},
		"URL that climbs": {purge.Reference{
			DownloadUUID: idD,
			DownloadURL:  "gs://certs/downloads/" + idD + "/../" + idU + "/x.pdf",
		}, nil},
		"URL that climbs, encoded": {purge.Reference{
			DownloadUUID: idD,
			DownloadURL:  "gs://certs/downloads/" + idD + "/%2e%2e/" + idU + "/x.pdf",
		}, nil},
		"relative URL": {purge.Reference{DownloadUUID: idD, DownloadURL: "/downloads/" + idD + "/x.pdf"}, nil},
		"not a URL":    {purge.Reference{DownloadUUID: idD, DownloadURL: "%zz"}, nil},
		"local web root": {purge.Reference{
			DownloadUUID: idD,
			DownloadURL:  "http://localhost:18090/downloads/" + idD + "/Certificate.pdf",
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			locations := twoLocations(t)
			dirs, err := resolved(locations, tc.ref)
			if (err != nil) != (tc.want == nil) || err != nil && purge.ClassOf(err) != purge.Unrecognised {
				t.Fatalf("got error %v, want unrecognised: %v", err, tc.want == nil)
			}
			var got []string
			for _, d := range dirs {
				got = append(got, d.Bucket+"|"+d.Prefix)
				if !locations.Owns(d) {
					t.Errorf("%v is named but not owned", d)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("directories (-want +got):\n%s", diff)
			}
		})
	}
}

// TestLinksThatAreOdd holds the table of docs/design.md: links that are no URL of a location, and what decides each.
func TestLinksThatAreOdd(t *testing.T) {
	t.Parallel()
	location := func(prefixes ...string) purge.Location {
		return purge.Location{
			Name: "main", Bucket: "certs.example.org", DownloadsDir: "downloads", VerifyDir: "cert",
			URLPrefixes: prefixes,
		}
	}
	archive := purge.Location{Name: "archive", Bucket: "old-certs", DownloadsDir: "downloads", VerifyDir: "cert"}
	const ours, outside, unrecognised = "ours", "external", "unrecognised"
	for name, tc := range map[string]struct {
		locations []purge.Location
		external  []string
		id        string // download_uuid
		link      string
		want      string
	}{
		"third party, listed": {
			[]purge.Location{location()},
			[]string{"https://credentials.example.net/"},
			"",
			"https://credentials.example.net/0f3c", outside,
		},
		"third party, other spelling": {
			[]purge.Location{location()},
			[]string{"credentials.example.net/"},
			"",
			"HTTP://Credentials.example.net:80/0f3c?a=b", outside,
		},
		"third party, not listed": {
			[]purge.Location{location()},
			nil, "", "https://credentials.example.net/0f3c",
			unrecognised,
		},
		"not listed, beside an id": {
			[]purge.Location{location()},
			nil, idD, "https://credentials.example.net/0f3c",
			unrecognised,
		},
		"third party, host alike": {
			[]purge.Location{location()},
			[]string{"https://credentials.example.net/"},
			"",
			"https://credentials.example.net.evil.example/0f3c", unrecognised,
		},
		"external beside a location": {
			[]purge.Location{location("https://cdn.example.org/")},
			[]string{"https://cdn.example.org/badges/"},
			"", "https://cdn.example.org/badges/1", outside,
		},
		"location below an external": {
			[]purge.Location{location("https://cdn.example.org/pdf/")},
			[]string{"https://cdn.example.org/"},
			idD, "https://cdn.example.org/pdf/downloads/" + idD + "/x.pdf", ours,
		},
		"path only, listed": {
			[]purge.Location{location("/"), archive},
			nil, idD,
			"/downloads/" + idD + "/Certificate.pdf", ours,
		},
		"path only, deeper": {
			[]purge.Location{location("/static/"), archive},
			nil, "",
			"/static/downloads/" + idD + "/Certificate.pdf", ours,
		},
		"path only, one location": {
			[]purge.Location{location()},
			nil, idD, "/downloads/" + idD + "/Certificate.pdf",
			ours,
		},
		"path only, several locations": {
			[]purge.Location{location(), archive},
			nil, idD,
			"/downloads/" + idD + "/Certificate.pdf", unrecognised,
		},
		"path only, another id": {
			[]purge.Location{location()},
			nil, idD, "/downloads/" + idU + "/Certificate.pdf",
			unrecognised,
		},
		"path only, no id": {
			[]purge.Location{location()},
			nil, "", "/downloads/" + idD + "/Certificate.pdf",
			unrecognised,
		},
		"no scheme, listed": {
			[]purge.Location{location("cdn.example.org/"), archive},
			nil, "",
			"cdn.example.org/downloads/" + idD + "/Certificate.pdf", ours,
		},
		"no scheme, listed with one": {
			[]purge.Location{location("https://cdn.example.org/"), archive},
			nil, "",
			"CDN.example.org/downloads/" + idD + "/Certificate.pdf", ours,
		},
		"relative, one location": {
			[]purge.Location{location()},
			nil, idD, "downloads/" + idD + "/Certificate.pdf",
			ours,
		},
		"no escape": {
			[]purge.Location{location("https://cdn.example.org/"), archive},
			nil, "",
			"https://cdn.example.org/downloads/" + idD + "/100%.pdf", ours,
		},
		"escapes that climb beside it": {
			[]purge.Location{location("https://cdn.example.org/")},
			nil, idD,
			"https://cdn.example.org/downloads/" + idD + "/%2e%2E/100%.pdf", unrecognised,
		},
		"a text":        {[]purge.Location{location()}, nil, idD, "n/a", ours},
		"a text, no id": {[]purge.Location{location()}, nil, "", "n/a", unrecognised},
		"another scheme": {
			[]purge.Location{location()},
			nil, "",
			"ftp://certs.example.org/downloads/" + idD + "/x.pdf", unrecognised,
		},
		"host named after the bucket": {
			[]purge.Location{location(), archive},
			nil, "",
			"https://certs.example.org/downloads/" + idD + "/Certificate.pdf", ours,
		},
		"host of S3, as a prefix": {
			[]purge.Location{location("https://s3.amazonaws.com/"), archive},
			nil, "",
			"https://s3.amazonaws.com/downloads/" + idD + "/Certificate.pdf", ours,
		},
		"a new line": {
			[]purge.Location{location()},
			nil, "",
			"https://certs.example.org/downloads/" + idD + "/x\n.pdf", unrecognised,
		},
		"a user in front of the host": {
			[]purge.Location{location()},
			nil, "",
			"https://me@certs.example.org/downloads/" + idD + "/x.pdf", unrecognised,
		},
		"a port that is none": {
			[]purge.Location{location()},
			nil, "",
			"https://certs.example.org:x/downloads/" + idD + "/x.pdf", unrecognised,
		},
		"external, but with an id": {
			[]purge.Location{location()},
			[]string{"https://credentials.example.net/"},
			idD,
			"https://credentials.example.net/0f3c", ours,
		},
		"spaces around it": {
			[]purge.Location{location()},
			nil, idD,
			" https://old.example.net/downloads/" + idD + "/x.pdf\n", unrecognised,
		},
		"spaces around ours": {
			[]purge.Location{location(), archive},
			nil, idD,
			" https://certs.example.org/downloads/" + idD + "/x.pdf\n", ours,
		},
		"a user, elsewhere": {
			[]purge.Location{location()},
			nil, idD,
			"https://me@old.example.net/downloads/" + idD + "/x.pdf", unrecognised,
		},
		"a port that is none, elsewhere": {
			[]purge.Location{location()},
			nil, idD,
			"https://old.example.net:8443x/downloads/" + idD + "/x.pdf", unrecognised,
		},
		"a space in the host": {
			[]purge.Location{location()},
			nil, idD,
			"https://old.example.net%20/downloads/" + idD + "/x.pdf", unrecognised,
		},
		"one slash too few": {[]purge.Location{location()}, nil, idD, "https:old.example.net/x.pdf", unrecognised},
		"another store": {
			[]purge.Location{location()},
			nil, idD, "s3://old-bucket/downloads/" + idD + "/x.pdf",
			unrecognised,
		},
		"ftp": {
			[]purge.Location{location()},
			nil, idD,
			"ftp://old.example.net/downloads/" + idD + "/x.pdf", unrecognised,
		},
		"no host behind the slashes": {
			[]purge.Location{location()},
			nil, idD, "///downloads/" + idD + "/x.pdf",
			unrecognised,
		},
		"a path that climbs": {
			[]purge.Location{location()},
			nil, idD, "/downloads/../archive/" + idD + "/x.pdf",
			unrecognised,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := purge.NewLocations(tc.locations, tc.external...)
			if err != nil {
				t.Fatal(err)
			}
			target, err := l.Resolve(purge.Reference{DownloadUUID: tc.id, DownloadURL: tc.link})
			got := ours
			switch {
			case err != nil:
				got = unrecognised
			case target.External:
				got = outside
			case len(target.Places) != 1 || target.Places[0].Location.Name != "main" ||
				target.Directories()[0] != (purge.Directory{Bucket: "certs.example.org", Prefix: "downloads/" + idD + "/"}):
				t.Errorf("names %+v", target.Directories())
			}
			if got != tc.want {
				t.Errorf("got %s (%v), want %s", got, err, tc.want)
			}
		})
	}
}

func TestNewLocationsPrefersWhatIsListed(t *testing.T) {
	t.Parallel()
	l, err := purge.NewLocations([]purge.Location{
		{Name: "old", Bucket: "certs.example.org", DownloadsDir: "downloads", VerifyDir: "cert"},
		{
			Name: "new", Bucket: "new-certs", DownloadsDir: "downloads", VerifyDir: "cert",
			URLPrefixes: []string{"https://certs.example.org/"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	target, err := l.Resolve(purge.Reference{DownloadURL: "http://certs.example.org/downloads/" + idD + "/x.pdf"})
	if err != nil || len(target.Places) != 1 || target.Places[0].Location.Name != "new" {
		t.Errorf("got %+v, %v; want the location that lists the host", target, err)
	}
	if _, err := purge.NewLocations([]purge.Location{{
		Name: "a", Bucket: "certs", DownloadsDir: "d", VerifyDir: "c",
		URLPrefixes: []string{"//x.example/"},
	}},
		"https://x.example/"); err == nil {
		t.Error("a prefix that is a location's and external was accepted")
	}
}

func TestParentsAreBothDirectories(t *testing.T) {
	t.Parallel()
	base := purge.Location{Name: "a", Bucket: "certs", ObjectPrefix: "x/", DownloadsDir: "downloads", VerifyDir: "cert"}
	downloads, verification := purge.Directory{Bucket: "certs", Prefix: "x/downloads/"},
		purge.Directory{Bucket: "certs", Prefix: "x/cert/"}
	for name, tc := range map[string]struct {
		signed bool
		empty  []purge.Kind
		want   []purge.Directory
	}{
		"signed":                 {true, nil, []purge.Directory{downloads, verification}},
		"unsigned":               {false, nil, []purge.Directory{downloads}},
		"downloads may be empty": {true, []purge.Kind{purge.Downloads}, []purge.Directory{verification}},
		"verification may be so": {true, []purge.Kind{purge.Verification}, []purge.Directory{downloads}},
		"both may be empty":      {true, []purge.Kind{purge.Downloads, purge.Verification}, nil},
	} {
		loc := base
		loc.Signed, loc.AllowEmpty = tc.signed, map[purge.Kind]bool{}
		for _, kind := range tc.empty {
			loc.AllowEmpty[kind] = true
		}
		l, err := purge.NewLocations([]purge.Location{loc})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tc.want, l.Parents()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// padded fills a URL with a long file name and cuts it, as the column's width would.
func padded(s string, n int) string { return (s + strings.Repeat("x", n))[:n] }

func TestDirectoriesOfACutOffID(t *testing.T) {
	t.Parallel()
	prefix := "https://cdn.example.org/" + strings.Repeat("p", 60) + "/"
	l, err := purge.NewLocations([]purge.Location{{
		Name: "a", Bucket: "certs", DownloadsDir: "downloads",
		VerifyDir: "cert", URLPrefixes: []string{prefix},
	}})
	if err != nil {
		t.Fatal(err)
	}
	cut := (prefix + "downloads/" + idD + "/Certificate.pdf")[:128]
	if dirs, err := resolved(l, purge.Reference{DownloadUUID: idD, DownloadURL: cut}); err != nil || len(dirs) != 1 {
		t.Errorf("cut at 128 characters with the same id: got %v, %v", dirs, err)
	}
	if dirs, err := resolved(l, purge.Reference{DownloadUUID: idU, DownloadURL: cut[:127]}); err == nil {
		t.Errorf("shorter than the column, so never cut: got %v", dirs)
	}
}

func TestOwnsRefusesEverythingElse(t *testing.T) {
	t.Parallel()
	l := twoLocations(t)
	for _, d := range []purge.Directory{
		{},
		{Bucket: "certs"},
		{Bucket: "certs", Prefix: "/"},
		{Bucket: "certs", Prefix: "cert/"},
		{Bucket: "certs", Prefix: "cert//"},
		{Bucket: "certs", Prefix: "downloads/" + idD},
		{Bucket: "certs", Prefix: "downloads/" + idD[:31] + "/"},
		{Bucket: "certs", Prefix: "downloads/No Verification/"},
		{Bucket: "others", Prefix: "downloads/" + idD + "/"},
		{Bucket: "old-certs", Prefix: "downloads/" + idD + "/"},
		{Bucket: "certs", Prefix: "x/downloads/" + idD + "/"},
	} {
		if l.Owns(d) {
			t.Errorf("%+v is owned", d)
		}
	}
}

func TestNewLocationsNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	good := purge.Location{Name: "a", Bucket: "certs", DownloadsDir: "downloads", VerifyDir: "cert"}
	with := func(change func(*purge.Location)) purge.Location { l := good; change(&l); return l }
	for name, all := range map[string][]purge.Location{
		"none":              nil,
		"no bucket":         {with(func(l *purge.Location) { l.Bucket = "" })},
		"prefix not closed": {with(func(l *purge.Location) { l.ObjectPrefix = "backup" })},
		"URL not closed":    {with(func(l *purge.Location) { l.URLPrefixes = []string{"https://x.example/files"} })},
		"one directory":     {with(func(l *purge.Location) { l.VerifyDir = "downloads" })},
		"one in the other":  {with(func(l *purge.Location) { l.VerifyDir = "downloads/cert" })},
		"URL of two":        {good, with(func(l *purge.Location) { l.Name = "b" })},
	} {
		if _, err := purge.NewLocations(all); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

// FuzzDirectories looks for a reference that names a directory outside its location.
func FuzzDirectories(f *testing.F) {
	f.Add(idD, idV, "gs://certs/downloads/"+idD+"/x.pdf")
	f.Add("", "No Verification", "https://s3.amazonaws.com/verify.example.org/downloads/"+idD+"/..%2f/x.pdf")
	f.Add(idD, "", padded("https://cdn.example.org/files/downloads/", 128))
	l := twoLocations(f)
	f.Fuzz(func(t *testing.T, download, verify, url string) {
		dirs, err := resolved(l, purge.Reference{DownloadUUID: download, VerifyUUID: verify, DownloadURL: url})
		if (err == nil) != (len(dirs) > 0) {
			t.Fatalf("got %v and %v", dirs, err)
		}
		for _, d := range dirs {
			if !l.Owns(d) {
				t.Fatalf("names %+v", d)
			}
		}
	})
}

func FuzzParseUserID(f *testing.F) {
	for _, s := range []string{"42", "0", "-1", "+1", "007", "2147483648", "1e3", " 1", "９"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := purge.ParseUserID(s)
		if (err == nil) != id.Valid() || err != nil && len(err.Error()) > 400 {
			t.Fatalf("%q: got %d, %v", s, id, err)
		}
		if err == nil && strings.TrimLeft(s, "123456789") == s {
			t.Fatalf("%q was accepted", s)
		}
	})
}
