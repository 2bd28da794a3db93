package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
	"github.com/certpurge/certpurge/internal/survey"
)

// era is how a site linked to its certificates for some years, and where the files are now.
type era struct {
	link, bucket, downloads, verify string // verify is empty where the site did not sign
}

func (s *site) addCertificate(user, n int, e era, history bool) {
	s.t.Helper()
	download, verify := s.id(n), s.id(1_000_000+n)
	c := sandboxtest.Certificate{
		UserID: user, DownloadUUID: download, VerifyUUID: verify,
		DownloadURL: e.link + "downloads/" + download + "/Certificate.pdf",
	}
	if history {
		s.db.AddHistory(s.t, sandboxtest.HistoryRow{Certificate: c, CertificateID: n})
	} else {
		s.db.AddCertificate(s.t, c)
	}
	names := []string{e.downloads + download + "/Certificate.pdf"}
	if e.verify != "" {
		names = append(names, e.verify+verify+"/valid.html", e.verify+verify+"/verify.html",
			e.verify+verify+"/Certificate.pdf.sig")
	}
	for _, name := range names {
		if _, err := s.bucket.Put(e.bucket, name, []byte("personal"), gcstest.ObjectOptions{}); err != nil {
			s.t.Fatal(err)
		}
	}
}

// TestSuggestedLocationsEraseEverything has every form of link that is known of Open edX sites, and no locations at
// all. What is suggested is loaded and purged with.
func TestSuggestedLocationsEraseEverything(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.cfg.Locations = nil
	eras := []era{
		{"https://s3.amazonaws.com/verify.example.org/", "verify.example.org", "downloads/", "cert/"},
		{"//s3.amazonaws.com/verify.example.org/", "verify.example.org", "downloads/", "cert/"},
		{"https://verify.example.org/", "verify.example.org", "downloads/", "cert/"},
		{"http://verify.example.org.s3.amazonaws.com/", "verify.example.org", "downloads/", "cert/"},
		{"https://s3-eu-west-1.amazonaws.com/lms-certs/", "moved", "from-s3/downloads/", "from-s3/verified/"},
		{"https://lms-certs.s3.eu-central-1.amazonaws.com/", "moved", "from-s3/downloads/", "from-s3/verified/"},
		{"http://localhost:18090/", "moved", "from-s3/downloads/", "from-s3/verified/"},
		{"https://certs.example.net/pdf/", "moved", "from-s3/downloads/", "from-s3/verified/"},
		{"https://storage.googleapis.com/unsigned/", "unsigned", "downloads/", ""},
		{"", "moved", "from-s3/downloads/", "from-s3/verified/"}, // a row without a link, see below
	}
	for _, name := range []string{"verify.example.org", "moved", "unsigned"} {
		s.bucket.CreateBucket(name, gcstest.BucketConfig{})
	}
	var users []purge.UserID
	id := 0
	for i, e := range eras {
		for range 3 {
			id++
			s.users++
			user := s.db.AddRetiringUser(t, "learner"+s.id(s.users), "RETIRING_LMS")
			users = append(users, purge.UserID(user))
			s.addCertificate(user, id, e, i%2 == 1)
		}
	}
	for _, table := range []string{"certificates_generatedcertificate", "certificates_historicalgeneratedcertificate"} {
		s.db.Exec(t, "UPDATE "+s.db.LMS+"."+table+" SET download_url = '' WHERE download_url LIKE 'downloads/%'")
	}
	third := s.db.AddRetiringUser(t, "third", "RETIRING_LMS")
	s.db.AddCertificate(t, sandboxtest.Certificate{UserID: third, DownloadURL: "https://credentials.example.com/0f3c"})

	code, yaml, errs := s.command("locations", "--suggest", "--bucket", "moved")
	if code != cli.ExitOK {
		t.Fatalf("got exit code %d: %s\n%s", code, errs, yaml)
	}
	t.Logf("the suggestion:\n%s", yaml)
	file := filepath.Join(t.TempDir(), "worker.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	loaded, err := config.LoadWorker(file, s.environ())
	if err != nil {
		t.Fatalf("what was suggested does not load: %v\n%s", err, yaml)
	}
	s.cfg.Locations, s.cfg.ExternalPrefixes = loaded.Locations, loaded.ExternalPrefixes
	if len(loaded.Locations) != 3 || len(loaded.ExternalPrefixes) != 1 {
		t.Errorf("got %d locations and %v, want one for each place", len(loaded.Locations), loaded.ExternalPrefixes)
	}
	if code, out, errs := s.command("locations"); code != cli.ExitOK {
		t.Errorf("with the suggestion: got exit code %d: %s\n%s", code, errs, out)
	}
	s.start()
	for _, r := range s.await(purge.Done, s.enqueue(append(users, purge.UserID(third))...)...) {
		if r.DirectoriesMissing != 0 {
			t.Errorf("got %+v, want nothing missing", r)
		}
	}
	for _, name := range []string{"verify.example.org", "moved", "unsigned"} {
		for _, o := range s.bucket.Objects(name, "") {
			t.Errorf("%s/%s is left", name, o.Name)
		}
	}
	if code, out, errs := s.command("locations"); code != cli.ExitOK || !strings.Contains(out, "1 link of 1 user") {
		t.Errorf("after the purge: got exit code %d: %s\n%s", code, errs, out)
	}
}

// TestLocationsTellWhatIsWrongFirst has one thing wrong in each case.
func TestLocationsTellWhatIsWrongFirst(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(s *site)
		code   int
		first  string
		kind   survey.Kind
		yaml   string // of --suggest
	}{
		"nothing": {first: "LINKS"},
		"a misspelt verify_dir": {
			change: func(s *site) { s.cfg.Locations[0].VerifyDir = "certs" }, code: cli.ExitConfiguration,
			kind:  survey.WrongVerifyDir,
			first: `wrong: location main: verify_dir "certs" is wrong: it holds none of 6 sampled certificates, "cert" holds 6`,
			yaml:  "verify_dir: cert\n",
		},
		"a misspelt downloads_dir": {
			change: func(s *site) { s.cfg.Locations[0].DownloadsDir = "download" }, code: cli.ExitConfiguration,
			kind:  survey.WrongDownloadsDir,
			first: `wrong: location main: downloads_dir "download" is wrong: "downloads" holds 6 of 6 sampled certificates`,
			yaml:  "downloads_dir: downloads\n",
		},
		"a wrong object_prefix": {
			change: func(s *site) {
				s.cfg.Locations[0].ObjectPrefix = "old/"
				s.cfg.Locations[0].URLPrefixes = []string{"https://storage.googleapis.com/certs/"}
			}, code: cli.ExitConfiguration, kind: survey.WrongPlace,
			first: `wrong: location main: the files under storage.googleapis.com/certs/downloads/ are elsewhere: gs://certs/downloads/` +
				` holds 6 of 6 sampled certificates`,
			yaml: "bucket: certs\n    downloads_dir",
		},
		"an unsigned site": {
			change: func(s *site) { s.unsign() }, code: cli.ExitConfiguration, kind: survey.Unsigned,
			first: `wrong: location main: no verification files of 6 sampled certificates`, yaml: "signed: false\n",
		},
		"a foreign prefix": {
			change: func(s *site) { s.addLink("https://credentials.example.com/0f3c") }, code: cli.ExitConfiguration,
			kind:  survey.ForeignPrefix,
			first: `wrong: 1 link of 1 user (1 retiring) begins with credentials.example.com/, which no location takes`,
			yaml:  "- https://credentials.example.com/\n",
		},
		"a prefix of files that are nowhere": {
			change: func(s *site) { s.addLink("https://old.example.com/downloads/" + s.id(9) + "/Certificate.pdf") },
			code:   cli.ExitConfiguration, kind: survey.ForeignPrefix,
			first: `wrong: 1 link of 1 user (1 retiring) begins with old.example.com/downloads/, which no location takes, and no bucket` +
				` that was looked up holds their files`,
			yaml: "# not decided: 1 link of 1 user (1 retiring) under old.example.com/downloads/",
		},
		"an odd id": {
			change: func(s *site) {
				s.db.Exec(s.t, "UPDATE "+s.db.LMS+".certificates_generatedcertificate SET verify_uuid = 'odd' ORDER BY id LIMIT 1")
			}, code: cli.ExitNotDone, kind: survey.OddRows,
			first: `odd: 1 row: verify_uuid is not 32 hexadecimal digits, such as certificate `,
		},
		"a bucket that is not there": {
			change: func(s *site) { s.bucket.DeleteBucket("certs") }, code: cli.ExitConfiguration, kind: survey.NotLooked,
			first: `wrong: location main: its files could not be looked for: reading the settings of bucket "certs": there is no such bucket`,
		},
		"a file that is missing": {
			change: func(s *site) {
				s.users++
				user := s.db.AddRetiringUser(s.t, "missing", "RETIRING_LMS")
				s.db.AddCertificate(s.t, sandboxtest.Certificate{
					UserID: user, DownloadUUID: s.id(5),
					DownloadURL: "gs://certs/downloads/" + s.id(5) + "/c.pdf",
				})
				s.addCertificate(user, 6, era{"gs://certs/", "certs", "downloads/", "cert/"}, false)
			}, code: cli.ExitNotDone, kind: survey.FilesMissing,
			first: `odd: location main: 1 of 8 sampled downloads directories are empty: requests of these users will fail as files_missing`,
		},
		"files that are gone": {
			change: func(s *site) {
				if err := s.bucket.RenameBucket("certs", "hidden"); err != nil {
					s.t.Fatal(err)
				}
				s.bucket.CreateBucket("certs", gcstest.BucketConfig{})
			}, code: cli.ExitConfiguration, kind: survey.WrongPlace,
			first: `wrong: location main: gs://certs/downloads/ holds none of the 6 sampled certificates under`,
			yaml:  "# not decided: location main: gs://certs/downloads/ holds none",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			for range 3 {
				s.addUser()
			}
			if tc.change != nil {
				tc.change(s)
			}
			code, out, errs := s.command("locations")
			if code != tc.code || !strings.HasPrefix(out, tc.first) {
				t.Errorf("got exit code %d, want %d: %s\n%s\nwant it to begin with\n%s", code, tc.code, errs, out, tc.first)
			}
			_, out, _ = s.command("locations", "-o", "json")
			var report survey.Report
			if err := json.Unmarshal([]byte(out), &report); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if tc.kind != "" && (len(report.Findings) == 0 || report.Findings[0].Kind != tc.kind) {
				t.Errorf("got %+v, want %s first", report.Findings, tc.kind)
			}
			if _, out, errs = s.command("locations", "--suggest"); !strings.Contains(out, tc.yaml) {
				t.Errorf("got %s\n%s\nwant %q", out, errs, tc.yaml)
			}
		})
	}
}

// unsign removes the verification files of a site.
func (s *site) unsign() {
	s.t.Helper()
	if err := s.bucket.RenameBucket("certs", "before"); err != nil {
		s.t.Fatal(err)
	}
	s.bucket.CreateBucket("certs", gcstest.BucketConfig{})
	for _, o := range s.bucket.Objects("before", "downloads/") {
		if _, err := s.bucket.Put("certs", o.Name, []byte("personal"), gcstest.ObjectOptions{}); err != nil {
			s.t.Fatal(err)
		}
	}
	s.bucket.DeleteBucket("before")
}

// addLink adds a retiring user with a certificate of this link.
func (s *site) addLink(link string) {
	s.t.Helper()
	s.users++
	user := s.db.AddRetiringUser(s.t, "linked"+s.id(s.users), "RETIRING_LMS")
	s.db.AddCertificate(s.t, sandboxtest.Certificate{UserID: user, DownloadURL: link})
}

func TestLocationsRefuseBadFlags(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--sample", "-1"},
		{"--sample", "1001"},
		{"--suggest", "--sample", "0"},
		{"--suggest", "-o", "csv"},
		{"-o", "yaml"},
		{"everything"},
		{"--bucket", "gs://certs/downloads"},
	} {
		var out, errs bytes.Buffer
		code := cli.Execute(t.Context(), newCommand, cli.Streams{Out: &out, Err: &errs},
			append([]string{"locations"}, args...))
		if code != cli.ExitUsage || out.Len() > 0 || strings.Count(errs.String(), "\n") != 1 {
			t.Errorf("%v: got exit code %d, %q", args, code, errs.String())
		}
	}
}

// TestWhatWasErasedIsNotMissed keeps the links of the history, whose files a purge has erased.
func TestWhatWasErasedIsNotMissed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.cfg.LMS.ClearHistory = false
	s.users++
	user := s.db.AddRetiringUser(t, "learner", "RETIRING_LMS")
	s.addCertificate(user, 1, era{"gs://certs/", "certs", "downloads/", "cert/"}, false)
	s.addCertificate(user, 2, era{"gs://certs/", "certs", "downloads/", "cert/"}, true)
	s.start()
	s.await(purge.Done, s.enqueue(purge.UserID(user))...)
	if code, out, errs := s.command("locations"); code != cli.ExitOK || !strings.Contains(out, "1 link of 1 user") {
		t.Errorf("got exit code %d: %s\n%s", code, errs, out)
	}
}

func TestLocationsWithoutServers(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.addUser()
	s.bucket.SetFaults(1, gcstest.Fault{Status: 403})
	if code, out, _ := s.command("locations"); code != cli.ExitConfiguration || !strings.Contains(out, "  ?  ") {
		t.Errorf("without a right: got exit code %d, %s", code, out)
	}
	s.cfg.MySQL.DSN = config.NewSecret("u:p@tcp(127.0.0.1:1)/certpurge")
	if code, out, errs := s.command("locations"); code != cli.ExitUnavailable || out != "" ||
		strings.Count(errs, "\n") != 1 {
		t.Errorf("without MySQL: got exit code %d, %q, %q", code, out, errs)
	}
}

// TestLocationsWriteNothing counts what reaches the servers.
func TestLocationsWriteNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.addUser()
	before := s.bucket.Objects("certs", "")
	for _, args := range [][]string{
		{"locations"},
		{"locations", "--suggest"},
		{"locations", "-o", "csv"},
		{"locations", "--sample", "0"},
	} {
		if code, out, errs := s.command(args...); code != cli.ExitOK {
			t.Errorf("%v: got exit code %d: %s\n%s", args, code, errs, out)
		}
	}
	for _, table := range []string{"owner_walks", "directory_owners", "requests", "evidence_documents"} {
		var n int
		if err := s.db.Root.QueryRowContext(t.Context(),
			"SELECT COUNT(*) FROM "+s.db.Ledger+"."+table).Scan(&n); err != nil || n != 0 {
			t.Errorf("%s: got %d rows, %v", table, n, err)
		}
	}
	if after := s.bucket.Objects("certs", ""); len(after) != len(before) {
		t.Errorf("got %d objects, want %d", len(after), len(before))
	}
}
