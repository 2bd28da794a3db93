package backfill_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/backfill"
	"github.com/certpurge/certpurge/internal/purge"
)

// owners have the certificates 1 to 100, ten each.
type owners struct{ fail error }

func (o owners) Owners(_ context.Context, ids []purge.CertificateID) (map[purge.CertificateID]purge.UserID, error) {
	all := map[purge.CertificateID]purge.UserID{}
	for _, id := range ids {
		if id <= 100 {
			all[id] = purge.UserID(id / 10)
		}
	}
	return all, o.fail
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	s := &backfill.Certificates{LMS: owners{}, Database: "openedx"}
	if err := s.Open(t.Context(), []purge.CertificateID{57, 12, 57, 99}); err != nil || s.Duplicates != 1 {
		t.Fatalf("got %v, %d duplicates", err, s.Duplicates)
	}
	var submissions []purge.Submission
	for item, err := range s.Items(t.Context(), 1) {
		if err != nil || s.Share(item.Position) != float64(item.Position)/3 {
			t.Fatalf("got %+v, %v", item, err)
		}
		submissions = append(submissions, item.Submission)
	}
	want := []purge.Submission{
		{User: 5, Certificate: 57, Key: "certificate:57", Source: purge.SourceBackfill},
		{User: 9, Certificate: 99, Key: "certificate:99", Source: purge.SourceBackfill},
	}
	if !slices.Equal(submissions, want) {
		t.Errorf("behind the first: got %+v, want %+v", submissions, want)
	}
	same, other := &backfill.Certificates{LMS: owners{}, Database: "openedx"},
		&backfill.Certificates{LMS: owners{}, Database: "openedx"}
	if err := errors.Join(same.Open(t.Context(), []purge.CertificateID{12, 57, 99}),
		other.Open(t.Context(), []purge.CertificateID{12, 57, 98})); err != nil {
		t.Fatal(err)
	}
	if s.Fingerprint() != same.Fingerprint() || s.Fingerprint() == other.Fingerprint() {
		t.Errorf("got fingerprints %q, %q and %q", s.Fingerprint(), same.Fingerprint(), other.Fingerprint())
	}
	err := s.Open(t.Context(), []purge.CertificateID{12, 101, 102})
	if !errors.Is(err, backfill.ErrBadCertificates) || !strings.Contains(err.Error(), "101, 102") {
		t.Errorf("unknown ones: got %v", err)
	}
	var many []purge.CertificateID
	for id := range purge.CertificateID(1000) {
		many = append(many, 101+id)
	}
	if err := s.Open(t.Context(), many); err == nil || !strings.Contains(err.Error(), "110, and 990 more") ||
		len(err.Error()) > 300 {
		t.Errorf("very many unknown ones: got %v", err)
	}
	s.LMS = owners{fail: errors.New("MySQL went away")}
	if err := s.Open(t.Context(), []purge.CertificateID{12}); err == nil || errors.Is(err, backfill.ErrBadCertificates) {
		t.Errorf("got %v", err)
	}
}

func TestParseArguments(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		ids    []purge.CertificateID
		dryRun bool
	}{
		"--certificate_ids 1 2 3":               {[]purge.CertificateID{1, 2, 3}, false},
		"  --certificate_ids 1 2\n3 --dry-run ": {[]purge.CertificateID{1, 2, 3}, true},
		"--dry-run --certificate_ids=17":        {[]purge.CertificateID{17}, true},
		`--certificate_ids "1" '2' 3\` + "\n 4": {[]purge.CertificateID{1, 2, 3, 4}, false},
		"--cert 5 --dry":                        {[]purge.CertificateID{5}, true},
		"--certificate_ids 2147483647 1 2 1":    {[]purge.CertificateID{2147483647, 1, 2, 1}, false},
		// As argparse takes them, with the options that Django gives every command.
		"--certificate_ids 1 -v 2":                             {[]purge.CertificateID{1}, false},
		"-v2 --certificate_ids 1":                              {[]purge.CertificateID{1}, false},
		"-v=2 --certificate_ids 1":                             {[]purge.CertificateID{1}, false},
		"-v 2 -v 3 --certificate_ids 1":                        {[]purge.CertificateID{1}, false},
		"--verbosity=3 --certificate_ids 1":                    {[]purge.CertificateID{1}, false},
		"--verb 0 --certificate_ids 1 2 --dry-run":             {[]purge.CertificateID{1, 2}, true},
		"--cert 1 --no-color --traceback --force-color --skip": {[]purge.CertificateID{1}, false},
		"--no --t --certificate_ids 1":                         {[]purge.CertificateID{1}, false},
		"--certificate_ids 1 --settings lms --pythonpath=/edx": {[]purge.CertificateID{1}, false},
		"--settings= --certificate_ids 1":                      {[]purge.CertificateID{1}, false},
		"--settings '-a b' --certificate_ids 1":                {[]purge.CertificateID{1}, false},
		"--settings -1 --certificate_ids 1":                    {[]purge.CertificateID{1}, false},
		"--certificate_ids 1 --args-from-database":             {[]purge.CertificateID{1}, false},
		"--certificate_ids 1 2 --certificate_ids 3":            {[]purge.CertificateID{3}, false}, // the last counts
		"--certificate_ids=1 --certificate_ids 2 3":            {[]purge.CertificateID{2, 3}, false},
		"--certificate_ids alice --certificate_ids 3":          {[]purge.CertificateID{3}, false},
		"--dry-run --dry-run --certificate_ids 1":              {[]purge.CertificateID{1}, true},
		"":                                      {},
		"--certificate_ids":                     {},
		"--dry-run":                             {},
		"1 2 3":                                 {},
		"--certificate_ids 1 --certificate_ids": {},
		"--certificate_ids=1 2":                 {},
		"--certificate_ids= ":                   {},
		"--certificate_ids 1,2":                 {},
		"--certificate_ids 1 -- 2":              {},
		"--certificate_ids -- 2":                {},
		"--certificate_ids 1 --":                {},
		"--certificate_ids 1 -":                 {},
		"--certificate_ids -1":                  {},
		"--certificate_ids 1 alice":             {},
		"--certificate_ids 0":                   {},
		"--certificate_ids 2147483648":          {},
		"--certificate_ids 1 --dry-run=1":       {},
		"--certificate_ids 1 --dry-run 5":       {},
		"--certificate_idsx 1":                  {},
		"--certificate_ids 1 -v":                {},
		"-v --certificate_ids 1":                {},
		"--certificate_ids 1 -v 4":              {},
		"--certificate_ids 1 -v two":            {},
		"--certificate_ids 1 -v 2 5":            {},
		"-v1v2 --certificate_ids 1":             {},
		"--ver 0 --certificate_ids 1":           {}, // --version or --verbosity
		"--s lms --certificate_ids 1":           {},
		"--settings -v --certificate_ids 1":     {},
		"--no-color=1 --certificate_ids 1":      {},
		"--certificate_ids 1 --version":         {}, // prints it, and purges nothing
		"--certificate_ids 1 --help":            {},
		"--certificate_ids 1 -h":                {},
		"--certificate_ids 1 -t":                {},
		"-- 1":                                  {},
		"--certificate_ids '1 2":                {},
		"--certificate_ids '1 2'":               {},
		`--certificate_ids "1`:                  {},
		`--certificate_ids 1\`:                  {},
	} {
		ids, dryRun, err := backfill.ParseArguments(text)
		if want.ids == nil {
			if !errors.Is(err, backfill.ErrBadCertificates) || len(ids) > 0 {
				t.Errorf("%q: got %v, %v; want an error", text, ids, err)
			}
			continue
		}
		if err != nil || !slices.Equal(ids, want.ids) || dryRun != want.dryRun {
			t.Errorf("%q: got %v, %v, %v; want %+v", text, ids, dryRun, err, want)
		}
	}
	for _, text := range []string{
		"--certificate_ids 1 --unknown=alice", "--certificate_ids 1 -v alice", "--certificate_ids 1 alice",
		"--certificate_ids 'alice",
	} {
		if _, _, err := backfill.ParseArguments(text); err == nil || strings.Contains(err.Error(), "alice") {
			t.Errorf("got %v, want an error that does not quote it", err)
		}
	}
}
