package purge_test

import (
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/purge"
)

// TestASharedDirectoryIsNotDeleted points a retiring user's row at the directories of another user.
func TestASharedDirectoryIsNotDeleted(t *testing.T) {
	t.Parallel()
	victim := []string{"downloads/" + hexID(51) + "/Certificate.pdf", "cert/" + hexID(151) + "/valid.html"}
	link := "https://s3.amazonaws.com/verify.example.org/downloads/" + hexID(51) + "/Certificate.pdf"
	for name, ref := range map[string]purge.Reference{
		"by its download id":               {DownloadUUID: hexID(51), VerifyUUID: hexID(199)},
		"by its link":                      {DownloadURL: link},
		"by both ids":                      {DownloadUUID: hexID(51), VerifyUUID: hexID(151)},
		"by its verification id":           {DownloadUUID: hexID(99), VerifyUUID: hexID(151)},
		"by the verification id, as a PDF": {DownloadUUID: hexID(151), VerifyUUID: hexID(199)},
		"by the download id, as a page":    {DownloadUUID: hexID(99), VerifyUUID: hexID(51)},
	} {
		for _, emptied := range []bool{false, true} {
			for accepted, submission := range map[string]purge.Submission{
				"refused": {}, "accepted": {AcceptShared: "alice@ops"},
				"by setting": {},
			} {
				t.Run(name+"/"+map[bool]string{true: "emptied/", false: "kept/"}[emptied]+accepted, func(t *testing.T) {
					t.Parallel()
					s := newStage(t)
					s.purger.Policy.AcceptShared = accepted == "by setting"
					s.purger.Policy.AcceptSoftDelete = true
					for _, object := range victim {
						s.cloud.Put(object)
					}
					theirs := purge.Reference{
						Table: purge.Live, RowID: 30, CertificateID: 30, DownloadUUID: hexID(51),
						VerifyUUID: hexID(151),
					}
					s.store.AddReference(77, theirs)
					if emptied { // by the one who pointed the other row at it
						s.store.ReplaceDownload(theirs, "")
					}
					ref, submission := ref, submission // the subtests run at the same time
					ref.Table, ref.RowID, ref.CertificateID = purge.Live, 31, 31
					s.store.AddReference(userA, ref)
					if submission.AcceptShared != "" {
						submission.AcceptMissing = "alice@ops" // of the ids that lead nowhere
					}
					s.submit(submission)
					before := len(s.store.References(userA))
					got, err := s.purge(t.Context())
					gone := 0
					for _, object := range victim {
						if !strings.Contains(strings.Join(s.cloud.Stored(), " "), object) {
							gone++
						}
					}
					if accepted != "refused" {
						if err != nil || gone == 0 && !strings.Contains(name, ", as") {
							t.Errorf("got %+v, %v with %d gone; want the directory erased", got, err, gone)
						}
						return
					}
					if err != nil || got.State != purge.Failed || got.Reason != purge.ReasonShared || gone != 0 {
						t.Errorf("got %+v, %v with %d gone; want failed: shared_directory", got, err, gone)
					}
					if !strings.Contains(got.Detail, "user 42") || !strings.Contains(got.Detail, "user 77") ||
						!strings.Contains(got.Detail, "certificate 31") ||
						strings.Contains(got.Detail, hexID(51)) {
						t.Errorf("the detail says %q, want both users and the certificate, and no id of a file", got.Detail)
					}
					if left := s.store.References(userA); len(left) != 1 || left[0].RowID != 31 || before < 2 {
						t.Errorf("got the references %v left of %d; want this one only", left, before)
					}
					for name := range s.store.Evidence(got.Request) {
						if strings.Contains(name, hexID(51)) || strings.Contains(name, hexID(151)) {
							t.Errorf("the evidence names %s, which was not touched", name)
						}
					}
				})
			}
		}
	}
}

// TestTwoRetiringUsersShareADirectory: each keeps the other's files until an operator has decided.
func TestTwoRetiringUsersShareADirectory(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.store.SetUser(userB, retiring())
	ref := purge.Reference{
		Table: purge.Live, RowID: 60, CertificateID: 60, DownloadUUID: hexID(51),
		VerifyUUID: hexID(151),
	}
	s.store.AddReference(userA, ref)
	ref.RowID, ref.CertificateID = 61, 61
	s.store.AddReference(userB, ref)
	accepted, err := s.store.Accept(t.Context(), []purge.Submission{{User: userB, Key: purge.DefaultKey(userB)}})
	if err != nil {
		t.Fatal(err)
	}
	own, err := s.purge(t.Context())
	if err != nil || own.Reason != purge.ReasonShared || !strings.Contains(own.Detail, "row of user 43") {
		t.Errorf("got %+v, %v; want the other user named", own, err)
	}
	other, err := s.purger.Purge(t.Context(), purge.Task{Request: accepted[0].Request, User: userB})
	if err != nil || other.Reason != purge.ReasonShared || !strings.Contains(other.Detail, "row of user 42") {
		t.Errorf("got %+v, %v; want the other user named", other, err)
	}
}
