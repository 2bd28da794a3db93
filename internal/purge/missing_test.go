package purge_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
)

// oneLocation is the stage's location, changed, with prefixes of other services.
func oneLocation(t *testing.T, change func(*purge.Location), external ...string) purge.Locations {
	t.Helper()
	location := purge.Location{
		Name: "main", Bucket: purgetest.Bucket, DownloadsDir: "downloads", VerifyDir: "cert", Signed: true,
		URLPrefixes: []string{"https://s3.amazonaws.com/verify.example.org/"},
	}
	change(&location)
	l, err := purge.NewLocations([]purge.Location{location}, external...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func locations(t *testing.T, all ...purge.Location) purge.Locations {
	t.Helper()
	l, err := purge.NewLocations(all)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestAbsenceIsDoubt lets files be missing in every way in which sites have lost sight of theirs. The stage's user has
// certificates 1 and 2, and 1 once more in the history.
func TestAbsenceIsDoubt(t *testing.T) {
	t.Parallel()
	const wrong = "the files may be somewhere else"
	removeVerification := func(s *stage) {
		for n := 1; n <= 3; n++ {
			for _, name := range []string{"Certificate.pdf.sig", "valid.html", "verify.html"} {
				s.cloud.Remove("cert/" + hexID(100+n) + "/" + name)
			}
		}
	}
	accept := func(kinds ...purge.Kind) func(*stage) {
		return func(s *stage) {
			s.purger.Locations = oneLocation(s.t, func(l *purge.Location) {
				l.AcceptMissing = map[purge.Kind]bool{}
				for _, kind := range kinds {
					l.AcceptMissing[kind] = true
				}
			})
		}
	}
	both := func(changes ...func(*stage)) func(*stage) {
		return func(s *stage) {
			for _, change := range changes {
				change(s)
			}
		}
	}
	for name, tc := range map[string]struct {
		arrange func(*stage)
		state   purge.State
		reason  purge.Reason
		left    int // references
		erased  int
		missing int // directories
		detail  string
	}{
		"nothing is missing": {func(*stage) {}, purge.Done, "", 0, 12, 0, ""},
		"verify_dir is misspelt": {
			func(s *stage) {
				s.purger.Locations = oneLocation(s.t, func(l *purge.Location) { l.VerifyDir = "certs" })
			},
			purge.Failed, purge.ReasonFilesMissing, 3, 3, 3,
			`verification directory of certificates 1, 2 is empty in location main (bucket certs, below "certs/")`,
		},
		"another site's bucket": {
			func(s *stage) {
				s.purger.Locations = oneLocation(s.t, func(l *purge.Location) { l.ObjectPrefix = "other/" })
			},
			purge.Failed, purge.ReasonFilesMissing, 3, 0, 6, wrong,
		},
		"the second certificate is elsewhere": {
			func(s *stage) { s.cloud.Remove("downloads/" + hexID(2) + "/Certificate.pdf") },
			purge.Failed, purge.ReasonFilesMissing, 1, 11, 1, "downloads directory of certificate 2 is empty",
		},
		"regenerated with a new verify_uuid, without history": {
			func(s *stage) { s.store.ReplaceVerify(s.store.References(userA)[1], hexID(777)) },
			purge.Failed, purge.ReasonFilesMissing, 1, 9, 1, "verification directory of certificate 2 is empty",
		},
		"verify_uuid and download_uuid are equal": {
			func(s *stage) { s.store.ReplaceVerify(s.store.References(userA)[1], hexID(2)) },
			purge.Failed, purge.ReasonUnrecognised, 1, 8, 0, "are the same",
		},
		"verification accepted by the setting": {
			both(removeVerification, accept(purge.Verification)), purge.Done, purge.ReasonFilesMissing, 0, 3, 3,
			"accepted by setting missing_files.verification",
		},
		"the wrong kind accepted": {
			both(removeVerification, accept(purge.Downloads)), purge.Failed, purge.ReasonFilesMissing, 3, 3, 3, wrong,
		},
		"accepted for this request": {
			both(removeVerification, func(s *stage) { s.submit(purge.Submission{AcceptMissing: "alice@ops"}) }),
			purge.Done, purge.ReasonFilesMissing, 0, 3, 3, "accepted by alice@ops",
		},
		"never signed": {
			both(removeVerification, func(s *stage) {
				s.purger.Locations = oneLocation(s.t, func(l *purge.Location) { l.Signed = false })
			}), purge.Done, "", 0, 3, 0, "",
		},
		"never signed, but there are files": {
			func(s *stage) { s.purger.Locations = oneLocation(s.t, func(l *purge.Location) { l.Signed = false }) },
			purge.Done, "", 0, 12, 0, "",
		},
		"a hold's file that was moved away": {
			func(s *stage) {
				s.cloud.Hold("downloads/"+hexID(2)+"/Certificate.pdf", true, false)
				if got, err := s.purge(s.t.Context()); err != nil || got.Reason != purge.ReasonHeld {
					s.t.Fatalf("got %+v, %v", got, err)
				}
				s.cloud.Remove("downloads/" + hexID(2) + "/Certificate.pdf")
				s.accept(s.t)
			}, purge.Failed, purge.ReasonFilesMissing, 1, 11, 1, "downloads directory of certificate 2 is empty",
		},
		"soft-deleted by another program": {
			func(s *stage) {
				s.purger.Policy.AcceptSoftDelete, s.cloud.AcceptSoftDelete = true, true
				s.cloud.SoftDelete(1 << 40)
				s.cloud.Remove("downloads/" + hexID(2) + "/Certificate.pdf")
				s.cloud.Put("downloads/" + hexID(2) + "/Certificate.pdf")
				s.deleteAll("downloads/" + hexID(2) + "/")
			}, purge.Failed, purge.ReasonFilesMissing, 1, 0, 1, "downloads directory of certificate 2 is empty",
		},
		"a hold is told before what is missing": {
			both(removeVerification, func(s *stage) { s.cloud.Hold("downloads/"+hexID(1)+"/Certificate.pdf", true, false) }),
			purge.Failed, purge.ReasonHeld, 3, 2, 3, wrong,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			tc.arrange(s)
			got, err := s.purge(t.Context())
			if err != nil || got.State != tc.state || got.Reason != tc.reason || !strings.Contains(got.Detail, tc.detail) ||
				tc.detail == "" && got.Detail != "" {
				t.Errorf("got %s: %q, %q, error %v; want %s: %q, %q", got.State, got.Reason, got.Detail, err, tc.state, tc.reason,
					tc.detail)
			}
			if left := len(s.store.References(userA)); left != tc.left || got.Counts.ObjectsErased != tc.erased ||
				got.Counts.DirectoriesMissing != tc.missing {
				t.Errorf("got %d references left and %+v, want %d, %d erased, %d missing", left, got.Counts, tc.left, tc.erased,
					tc.missing)
			}
			s.checkOrder(t)
			s.checkOthers(t)
		})
	}
}

// TestAMissingDirectoryIsFoundByASecondAttempt fixes the location after the first attempt.
func TestAMissingDirectoryIsFoundByASecondAttempt(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.purger.Locations = oneLocation(t, func(l *purge.Location) { l.VerifyDir = "certs" })
	if got, err := s.purge(t.Context()); err != nil || got.Reason != purge.ReasonFilesMissing {
		t.Fatalf("got %+v, %v", got, err)
	}
	s.purger.Locations = purgetest.OneLocation(t)
	s.accept(t)
	got, err := s.purge(t.Context()) // the PDFs were erased by the first attempt: its evidence says so
	if err != nil || got.State != purge.Done || got.Reason != purge.ReasonNone || got.Counts.DirectoriesMissing != 0 {
		t.Errorf("got %+v, %v; want plainly done", got, err)
	}
	s.checkClean(t)
}

// TestPlacesOfALinklessReference searches two locations.
func TestPlacesOfALinklessReference(t *testing.T) {
	t.Parallel()
	here := purge.Location{
		Name: "here", Bucket: purgetest.Bucket, ObjectPrefix: "here/", DownloadsDir: "downloads",
		VerifyDir: "cert", Signed: true,
	}
	there := purge.Location{
		Name: "there", Bucket: purgetest.Bucket, ObjectPrefix: "there/", DownloadsDir: "downloads",
		VerifyDir: "cert", Signed: true,
	}
	unsigned := there
	unsigned.Signed = false
	accepts := there
	accepts.AcceptMissing = map[purge.Kind]bool{purge.Downloads: true, purge.Verification: true}
	pdf, page := "downloads/"+hexID(51)+"/Certificate.pdf", "cert/"+hexID(151)+"/valid.html"
	for name, tc := range map[string]struct {
		second  purge.Location
		objects []string
		reason  purge.Reason
		missing int
	}{
		"all in one":                     {there, []string{"there/" + pdf, "there/" + page}, "", 0},
		"in both":                        {there, []string{"there/" + pdf, "here/" + pdf, "there/" + page}, "", 0},
		"pages in the other":             {there, []string{"there/" + pdf, "here/" + page}, "", 0},
		"no pages where the PDF is":      {there, []string{"there/" + pdf}, purge.ReasonFilesMissing, 1},
		"no pages, the PDF is unsigned":  {unsigned, []string{"there/" + pdf}, "", 0},
		"no pages, but they were signed": {unsigned, []string{"here/" + pdf}, purge.ReasonFilesMissing, 1},
		"no PDF":                         {there, []string{"there/" + page}, purge.ReasonFilesMissing, 2},
		"nothing":                        {there, nil, purge.ReasonFilesMissing, 4},
		"nothing, and one accepts":       {accepts, nil, purge.ReasonFilesMissing, 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			s.purger.Locations = locations(t, here, tc.second)
			s.store.SetUser(userB, retiring())
			s.store.Remove(userB)
			s.store.AddReference(userB, purge.Reference{
				Table: purge.Live, RowID: 20, CertificateID: 20, DownloadUUID: hexID(51),
				VerifyUUID: hexID(151),
			})
			for _, object := range tc.objects {
				s.cloud.Put(object)
			}
			accepted, err := s.store.Accept(t.Context(), []purge.Submission{{User: userB, Key: purge.DefaultKey(userB)}})
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.purger.Purge(t.Context(), purge.Task{Request: accepted[0].Request, User: userB})
			want := purge.Done
			if tc.missing > 0 {
				want = purge.Failed
			}
			if err != nil || got.State != want || got.Reason != tc.reason || got.Counts.DirectoriesMissing != tc.missing {
				t.Errorf("got %+v, %v; want %s: %q with %d missing", got, err, want, tc.reason, tc.missing)
			}
			if got.Counts.ObjectsErased != len(tc.objects) {
				t.Errorf("got %d erased, want all %d", got.Counts.ObjectsErased, len(tc.objects))
			}
		})
	}
}

// TestAnExternalLinkHidesNoFiles has a download id beside the link: there were files, and they are expected.
func TestAnExternalLinkHidesNoFiles(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.purger.Policy.ClearExternal = true
	s.purger.Locations = oneLocation(t, func(*purge.Location) {}, "https://credentials.example.net/")
	s.store.AddReference(userA, purge.Reference{
		Table: purge.Live, RowID: 30, CertificateID: 30, DownloadUUID: hexID(30),
		DownloadURL: "https://credentials.example.net/0f3c",
	})
	got, err := s.purge(t.Context())
	if err != nil || got.Reason != purge.ReasonFilesMissing || len(s.store.References(userA)) != 1 {
		t.Errorf("got %+v, %v, %d references; want failed: files_missing and the link kept", got, err,
			len(s.store.References(userA)))
	}
}

// TestMissingStaysMissing lets another program clear the link of what was missing.
func TestMissingStaysMissing(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.cloud.Remove("downloads/" + hexID(2) + "/Certificate.pdf")
	if got, err := s.purge(t.Context()); err != nil || got.Reason != purge.ReasonFilesMissing {
		t.Fatalf("got %+v, %v", got, err)
	}
	s.store.Remove(userA)
	s.accept(t)
	got, err := s.purge(t.Context())
	if err != nil || got.State != purge.Done || got.Reason != purge.ReasonFilesMissing ||
		got.Counts.DirectoriesMissing != 1 {
		t.Errorf("got %+v, %v; want done: files_missing, as the file was never found", got, err)
	}
}

func TestExternalLinks(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		clear, only, file bool
		reason            purge.Reason
		left              int
	}{
		"kept":                         {left: 1},
		"kept, and nothing else":       {only: true, left: 1, reason: purge.ReasonNothingToPurge},
		"cleared":                      {clear: true},
		"a file of ours under its id":  {file: true},
		"kept in the history, as well": {left: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			s.purger.Policy.ClearExternal = tc.clear
			s.purger.Locations = oneLocation(t, func(*purge.Location) {}, "https://credentials.example.net/")
			if tc.only {
				s.store.Remove(userA)
			}
			ref := purge.Reference{
				Table: purge.Live, RowID: 30, CertificateID: 30, VerifyUUID: hexID(55),
				DownloadURL: "https://credentials.example.net/0f3c",
			}
			if tc.file {
				ref.DownloadUUID = hexID(30)
				s.cloud.Put("downloads/" + hexID(30) + "/Certificate.pdf")
				s.cloud.Put("cert/" + hexID(55) + "/valid.html")
			}
			s.store.AddReference(userA, ref)
			if tc.left == 2 {
				ref.Table, ref.RowID = purge.History, 31
				s.store.AddReference(userA, ref)
			}
			got, err := s.purge(t.Context())
			if err != nil || got.State != purge.Done || got.Reason != tc.reason || len(s.store.References(userA)) != tc.left {
				t.Errorf("got %+v, %v, %d references; want done: %q and %d", got, err, len(s.store.References(userA)), tc.reason,
					tc.left)
			}
			outcomes := s.store.Evidence(request)
			external := slices.Contains(slices.Collect(maps.Values(outcomes)), purge.External)
			if external == tc.file {
				t.Errorf("got evidence %v, want an external link: %v", outcomes, !tc.file)
			}
		})
	}
}

// manyUsers is a stage with users 1000 to 1019 besides, each with one certificate, and with the stage's Misses.
func manyUsers(t *testing.T, files func(n int, cloud *purgetest.Cloud)) *stage {
	t.Helper()
	s := newStage(t)
	s.purger.Misses = &purge.Misses{}
	for n := range 20 {
		user := purge.UserID(1000 + n)
		s.store.SetUser(user, retiring())
		s.store.AddReference(user, purge.Reference{
			Table: purge.Live, RowID: int64(1000 + n), CertificateID: purge.CertificateID(1000 + n),
			DownloadUUID: hexID(1000 + n), VerifyUUID: hexID(2000 + n), DownloadURL: url(hexID(1000 + n)),
		})
		s.cloud.Put("downloads/" + hexID(1000+n) + "/Certificate.pdf")
		files(n, s.cloud)
		s.store.AddReference(user, purge.Reference{ // one user is one, with however many references
			Table: purge.Live, RowID: int64(1100 + n), CertificateID: purge.CertificateID(1100 + n),
			DownloadUUID: hexID(1000 + n), VerifyUUID: hexID(2100 + n), DownloadURL: url(hexID(1000 + n)),
		})
	}
	return s
}

func (s *stage) purgeMany(t *testing.T, from, to int) (results []purge.Result) {
	t.Helper()
	for n := from; n < to; n++ {
		user := purge.UserID(1000 + n)
		accepted, err := s.store.Accept(t.Context(), []purge.Submission{{User: user, Key: purge.DefaultKey(user)}})
		if err != nil {
			t.Fatal(err)
		}
		result, _ := s.purger.Purge(t.Context(), purge.Task{Request: accepted[0].Request, User: user}) // the state says it
		results = append(results, result)
	}
	return results
}

func never(context.Context, purge.Directory) (bool, error) { return false, nil }

// TestTheFirstUsersTellThatALocationIsWrong lets every user's verification files be missing.
func TestTheFirstUsersTellThatALocationIsWrong(t *testing.T) {
	t.Parallel()
	s := manyUsers(t, func(int, *purgetest.Cloud) {})
	for n := range 10 {
		if err := s.purger.Misses.Check(t.Context(), never); err != nil {
			t.Errorf("after %d users: got %v", n, err)
		}
		if got := s.purgeMany(t, n, n+1)[0]; got.State != purge.Failed || got.Reason != purge.ReasonFilesMissing {
			t.Errorf("user %d: got %+v, want failed: files_missing", n, got)
		}
	}
	err := s.purger.Misses.Check(t.Context(), never)
	if purge.ClassOf(err) != purge.Misconfigured || err == nil ||
		!strings.Contains(err.Error(), `location main: the first 10 users had no files in their verification directories`) {
		t.Fatalf("got %v, want a misconfigured location", err)
	}
	for n, got := range s.purgeMany(t, 10, 12) { // under way when the doubt came
		if got.State != purge.Queued || got.Reason != purge.ReasonMisconfigured {
			t.Errorf("user %d: got %+v, want queued: misconfigured", 10+n, got)
		}
	}
	if err := s.purger.Misses.Check(t.Context(), func(context.Context, purge.Directory) (bool, error) {
		return false,
			errors.New("away")
	}); err == nil || err.Error() != "away" {
		t.Errorf("got %v, want the ledger's error", err)
	}
	// Another worker, or this one before its last start, has erased files there: then it is these users.
	var asked []purge.Directory
	err = s.purger.Misses.Check(t.Context(), func(_ context.Context, dir purge.Directory) (bool, error) {
		asked = append(asked, dir)
		return true, nil
	})
	if err != nil || fmt.Sprint(asked) != "[{certs cert/}]" {
		t.Errorf("got %v, asked about %v", err, asked)
	}
	for n, got := range s.purgeMany(t, 10, 20) {
		if got.State != purge.Failed || got.Reason != purge.ReasonFilesMissing {
			t.Errorf("user %d: got %+v, want failed: files_missing", 10+n, got)
		}
	}
	if err := s.purger.Misses.Check(t.Context(), never); err != nil {
		t.Errorf("got %v, although the location was found right", err)
	}
}

// TestOneUserWithFilesTellsThatALocationIsRight lets one of the first users have all files, or the missing be accepted.
func TestOneUserWithFilesTellsThatALocationIsRight(t *testing.T) {
	t.Parallel()
	s := manyUsers(t, func(n int, cloud *purgetest.Cloud) {
		if n == 4 {
			cloud.Put("cert/" + hexID(2000+n) + "/valid.html")
		}
	})
	s.purgeMany(t, 0, 20)
	if err := s.purger.Misses.Check(t.Context(), never); err != nil {
		t.Errorf("got %v, although one of the first users had files", err)
	}
	s = manyUsers(t, func(int, *purgetest.Cloud) {})
	s.purger.Locations = oneLocation(t,
		func(l *purge.Location) { l.AcceptMissing = map[purge.Kind]bool{purge.Verification: true} })
	s.purgeMany(t, 0, 20)
	if err := s.purger.Misses.Check(t.Context(), never); err != nil {
		t.Errorf("got %v, although the setting accepts it", err)
	}
	s = manyUsers(t, func(int, *purgetest.Cloud) {})
	for range 3 { // the same users again and again are no more than themselves
		s.purgeMany(t, 0, 9)
	}
	if err := s.purger.Misses.Check(t.Context(), never); err != nil {
		t.Errorf("got %v after nine users", err)
	}
}
