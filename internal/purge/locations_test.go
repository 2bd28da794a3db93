package purge_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certpurge/certpurge/internal/purge"
)

func twoLocations(tb testing.TB) purge.Locations {
	tb.Helper()
	l, err := purge.NewLocations([]purge.Location{
		{
			Name: "main", Bucket: "certs", DownloadsDir: "downloads", VerifyDir: "cert",
			URLPrefixes: []string{
				"https://s3.amazonaws.com/verify.example.org/", "//s3.amazonaws.com/verify.example.org/", "gs://certs/", "https://cdn.example.org/files/",
			},
		},
		{Name: "archive", Bucket: "old-certs", ObjectPrefix: "backup/2014/", DownloadsDir: "dl", VerifyDir: "v", URLPrefixes: []string{"//old.example.org/"}},
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
		"S3 path style":                     {purge.Reference{DownloadUUID: idD, VerifyUUID: idV, DownloadURL: "https://s3.amazonaws.com/verify.example.org/downloads/" + idD + "/Certificate.pdf"}, main(idD)},
		"protocol-relative":                 {purge.Reference{DownloadUUID: idD, VerifyUUID: idV, DownloadURL: "//s3.amazonaws.com/verify.example.org/downloads/" + idD + "/Certificate.pdf"}, main(idD)},
		"plain http, port, upper-case host": {purge.Reference{DownloadUUID: idD, VerifyUUID: idV, DownloadURL: "http://CDN.example.org:80/files/downloads/" + idD + "/Certificate.pdf"}, main(idD)},
		"Cloud Storage URL":                 {purge.Reference{DownloadUUID: idD, VerifyUUID: idV, DownloadURL: "https://storage.googleapis.com/certs/downloads/" + idD + "/Certificate.pdf"}, main(idD)},
		"bucket as host":                    {purge.Reference{DownloadUUID: idD, VerifyUUID: idV, DownloadURL: "https://certs.storage.googleapis.com/downloads/" + idD + "/x.pdf"}, main(idD)},
		"gs URL":                            {purge.Reference{DownloadUUID: idD, VerifyUUID: idV, DownloadURL: "gs://certs/downloads/" + idD + "/x.pdf"}, main(idD)},
		"other id in the URL":               {purge.Reference{DownloadUUID: idD, VerifyUUID: idV, DownloadURL: "gs://certs/downloads/" + idU + "/x.pdf"}, main(idD, idU)},
		"id in the URL only":                {purge.Reference{VerifyUUID: idV, DownloadURL: "gs://certs/downloads/" + idU + "/x.pdf"}, main(idU)},
		"query is ignored":                  {purge.Reference{DownloadUUID: idD, VerifyUUID: idV, DownloadURL: "gs://certs/downloads/" + idD + "/x.pdf?sig=a/../b"}, main(idD)},
		"cut off by the column":             {purge.Reference{DownloadUUID: idD, VerifyUUID: idV, DownloadURL: padded(long, 128)}, main(idD)},
		"no verification":                   {purge.Reference{DownloadUUID: idD, VerifyUUID: "No Verification", DownloadURL: "gs://certs/downloads/" + idD + "/x.pdf"}, []string{"certs|downloads/" + idD + "/"}},
		"empty verify id":                   {purge.Reference{DownloadUUID: idD, DownloadURL: "gs://certs/downloads/" + idD + "/x.pdf"}, []string{"certs|downloads/" + idD + "/"}},
		"other location": {
			purge.Reference{DownloadUUID: idD, VerifyUUID: idV, DownloadURL: "https://old.example.org/dl/" + idD + "/x.pdf"},
			[]string{"old-certs|backup/2014/dl/" + idD + "/", "old-certs|backup/2014/v/" + idV + "/"},
		},
		"no URL: every location": {
			purge.Reference{DownloadUUID: idD, VerifyUUID: idV},
			[]string{"certs|downloads/" + idD + "/", "certs|cert/" + idV + "/", "old-certs|backup/2014/dl/" + idD + "/", "old-certs|backup/2014/v/" + idV + "/"},
		},
		"nothing at all":              {purge.Reference{VerifyUUID: idV}, nil},
		"foreign bucket":              {purge.Reference{DownloadUUID: idD, DownloadURL: "gs://others/downloads/" + idD + "/x.pdf"}, nil},
		"foreign object prefix":       {purge.Reference{DownloadUUID: idD, DownloadURL: "gs://old-certs/downloads/" + idD + "/x.pdf"}, nil},
		"host that begins alike":      {purge.Reference{DownloadUUID: idD, DownloadURL: "https://cdn.example.org.evil.example/files/downloads/" + idD + "/x.pdf"}, nil},
		"upper-case id":               {purge.Reference{DownloadUUID: strings.ToUpper(idD), DownloadURL: "gs://certs/downloads/" + idD + "/x.pdf"}, nil},
		"dashed id":                   {purge.Reference{DownloadUUID: "01234567-89ab-cdef-0123-456789abcd"}, nil},
		"odd verify id":               {purge.Reference{DownloadUUID: idD, VerifyUUID: "../" + idV[3:]}, nil},
		"no verification, wrong case": {purge.Reference{DownloadUUID: idD, VerifyUUID: "no verification"}, nil},
		"URL outside the directory":   {purge.Reference{DownloadUUID: idD, DownloadURL: "gs://certs/exports/" + idD + "/x.pdf"}, nil},
		"URL without a file":          {purge.Reference{DownloadUUID: idD, DownloadURL: "gs://certs/downloads/" + idD}, nil},
		"URL that climbs":             {purge.Reference{DownloadUUID: idD, DownloadURL: "gs://certs/downloads/" + idD + "/../" + idU + "/x.pdf"}, nil},
		"URL that climbs, encoded":    {purge.Reference{DownloadUUID: idD, DownloadURL: "gs://certs/downloads/" + idD + "/%2e%2e/" + idU + "/x.pdf"}, nil},
		"relative URL":                {purge.Reference{DownloadUUID: idD, DownloadURL: "/downloads/" + idD + "/x.pdf"}, nil},
		"not a URL":                   {purge.Reference{DownloadUUID: idD, DownloadURL: "%zz"}, nil},
		"local web root":              {purge.Reference{DownloadUUID: idD, DownloadURL: "http://localhost:18090/downloads/" + idD + "/Certificate.pdf"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			locations := twoLocations(t)
			dirs, err := locations.Directories(tc.ref)
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

// padded fills a URL with a long file name and cuts it, as the column's width would.
func padded(s string, n int) string { return (s + strings.Repeat("x", n))[:n] }

func TestDirectoriesOfACutOffID(t *testing.T) {
	t.Parallel()
	prefix := "https://cdn.example.org/" + strings.Repeat("p", 60) + "/"
	l, err := purge.NewLocations([]purge.Location{{Name: "a", Bucket: "certs", DownloadsDir: "downloads", VerifyDir: "cert", URLPrefixes: []string{prefix}}})
	if err != nil {
		t.Fatal(err)
	}
	cut := (prefix + "downloads/" + idD + "/Certificate.pdf")[:128]
	if dirs, err := l.Directories(purge.Reference{DownloadUUID: idD, DownloadURL: cut}); err != nil || len(dirs) != 1 {
		t.Errorf("cut at 128 characters with the same id: got %v, %v", dirs, err)
	}
	if dirs, err := l.Directories(purge.Reference{DownloadUUID: idU, DownloadURL: cut[:127]}); err == nil {
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
		dirs, err := l.Directories(purge.Reference{DownloadUUID: download, VerifyUUID: verify, DownloadURL: url})
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
