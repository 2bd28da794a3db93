package purge_test

import (
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/purge"
)

func TestLinksAreUnderstoodAsTheyAreResolved(t *testing.T) {
	t.Parallel()
	const id, other = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
	locations, err := purge.NewLocations([]purge.Location{{
		Name: "main", Bucket: "certs", DownloadsDir: "downloads", VerifyDir: "cert",
		URLPrefixes: []string{"https://s3.amazonaws.com/verify.example.org/", "https://certs.example.org/a/"},
	}, {Name: "old", Bucket: "old", DownloadsDir: "pdfs", VerifyDir: "cert"}}, "https://credentials.example.net/")
	if err != nil {
		t.Fatal(err)
	}
	long := "https://certs.example.org/a/" + strings.Repeat("x", 64) + "/downloads/"
	long += id[:128-len(long)]
	for name, tc := range map[string]struct {
		ref                                purge.Reference
		prefix, location, linked, problems string
		taker                              purge.Taker
	}{
		"path-style": {
			ref: purge.Reference{DownloadUUID: id, DownloadURL: "https://s3.amazonaws.com/verify.example.org/downloads/" +
				id + "/Certificate.pdf"},
			prefix: "s3.amazonaws.com/verify.example.org/downloads/", taker: purge.TakenByLocation, location: "main", linked: id,
		},
		"without a scheme": {
			ref: purge.Reference{DownloadUUID: id, DownloadURL: "//S3.amazonaws.com/verify.example.org/downloads/" + id +
				"/c.pdf?x=1"},
			prefix: "s3.amazonaws.com/verify.example.org/downloads/", taker: purge.TakenByLocation, location: "main", linked: id,
		},
		"gs": {
			ref:    purge.Reference{DownloadURL: "gs://old/pdfs/" + id + "/c.pdf"},
			prefix: "gs://old/pdfs/", taker: purge.TakenByLocation, location: "old", linked: id,
		},
		"a path only": {
			ref:    purge.Reference{DownloadUUID: id, DownloadURL: "/downloads/" + id + "/c.pdf"},
			prefix: "/downloads/", taker: purge.TakenByNone, linked: id, problems: "several locations",
		},
		"a host with a port": {
			ref:    purge.Reference{DownloadUUID: id, DownloadURL: "http://localhost:18090/downloads/" + id + "/c.pdf"},
			prefix: "localhost:18090/downloads/", taker: purge.TakenByNone, linked: id, problems: "no configured location",
		},
		"directly below the host": {
			ref:    purge.Reference{DownloadUUID: id, DownloadURL: "https://example.com/" + id + "/c.pdf"},
			prefix: "example.com/", taker: purge.TakenByNone, linked: id, problems: "no configured location",
		},
		"an odd id": {
			ref:    purge.Reference{DownloadURL: "https://s3.amazonaws.com/verify.example.org/downloads/ABC/c.pdf"},
			prefix: "s3.amazonaws.com/verify.example.org/downloads/", taker: purge.TakenByLocation, location: "main",
			problems: "does not lead to a file",
		},
		"an odd verify_uuid": {
			ref:    purge.Reference{VerifyUUID: "x", DownloadURL: "gs://certs/downloads/" + id + "/c.pdf"},
			prefix: "gs://certs/downloads/", taker: purge.TakenByLocation, location: "main", linked: id, problems: "verify_uuid",
		},
		"another service": {
			ref:    purge.Reference{DownloadURL: "https://credentials.example.net/credentials/42/"},
			prefix: "credentials.example.net/", taker: purge.TakenAsExternal,
		},
		"no link": {ref: purge.Reference{DownloadUUID: id, VerifyUUID: other}, taker: purge.TakenByAny},
		"a text": {
			ref: purge.Reference{DownloadUUID: id, DownloadURL: "n/a"}, taker: purge.TakenByNone, problems: "several locations",
		},
		"cut off in the id": {
			ref:    purge.Reference{DownloadUUID: id, DownloadURL: long},
			prefix: "certs.example.org/a/" + strings.Repeat("x", 64) + "/downloads/", taker: purge.TakenByLocation,
			location: "main",
			linked:   id, problems: "does not lead to a file",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := locations.Understand(tc.ref)
			location := ""
			if u.Location != nil {
				location = u.Location.Name
			}
			if u.Prefix != tc.prefix || u.Taker != tc.taker || location != tc.location || u.LinkedID != tc.linked {
				t.Errorf("got %q, %s %s, %s", u.Prefix, u.Taker, location, u.LinkedID)
			}
			_, err := locations.Resolve(tc.ref)
			if (err == nil) != (u.Problem == "") || !strings.Contains(u.Problem, tc.problems) || tc.problems == "" &&
				u.Problem != "" {
				t.Errorf("got the problem %q, want %q; Resolve says %v", u.Problem, tc.problems, err)
			}
		})
	}
}

// TestWithoutLocationsNothingIsTaken: the operator who looks for locations has none yet.
func TestWithoutLocationsNothingIsTaken(t *testing.T) {
	t.Parallel()
	none, _ := purge.NewLocations(nil, "https://credentials.example.net/") // its error says that there are none
	for link, want := range map[string]purge.Taker{
		"n/a": purge.TakenByNone, "/downloads/x": purge.TakenByNone, "": purge.TakenByAny,
		"https://credentials.example.net/1": purge.TakenAsExternal, "gs://certs/downloads/x": purge.TakenByNone,
	} {
		if u := none.Understand(purge.Reference{DownloadUUID: strings.Repeat("1", 32), DownloadURL: link}); u.Taker != want {
			t.Errorf("%q: got %s, want %s", link, u.Taker, want)
		}
	}
}
