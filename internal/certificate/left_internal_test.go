package certificate

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// day is the start of a day of the tests; day 0 is unknown.
func day(n int) *time.Time {
	if n == 0 {
		return nil
	}
	at := time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC)
	return &at
}

// TestLaterRequestsSettleFailedOnes: but only those of the same scope, or of all.
func TestLaterRequestsSettleFailedOnes(t *testing.T) {
	t.Parallel()
	failed := Request{ID: 1, CertificateID: 7, State: purge.Failed, FinishedAt: day(2)}
	for name, tc := range map[string]struct {
		r, other Request
		want     bool
	}{
		"alone":                      {failed, Request{State: purge.Failed, FinishedAt: day(3)}, true},
		"all done later":             {failed, Request{State: purge.Done, FinishedAt: day(3)}, false},
		"all done before":            {failed, Request{State: purge.Done, FinishedAt: day(1)}, true},
		"all open":                   {failed, Request{State: purge.Running}, true},
		"the same certificate":       {failed, Request{CertificateID: 7, State: purge.Done, FinishedAt: day(3)}, false},
		"another certificate":        {failed, Request{CertificateID: 8, State: purge.Done, FinishedAt: day(3)}, true},
		"all failed, one done":       {Request{State: purge.Failed, FinishedAt: day(2)}, Request{CertificateID: 7, State: purge.Done, FinishedAt: day(3)}, true},
		"open, although one is done": {Request{State: purge.Queued}, Request{State: purge.Done, FinishedAt: day(3)}, true},
		"refused":                    {Request{State: purge.Refused, FinishedAt: day(2)}, Request{State: purge.Failed}, false},
		"done":                       {Request{State: purge.Done, FinishedAt: day(2)}, Request{State: purge.Failed}, false},
	} {
		if got := tc.r.unfinished([]Request{tc.r, tc.other}); got != tc.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

// TestWhatIsLeftOfObjects: the latest that is known of a generation or a directory counts, whichever request wrote it.
func TestWhatIsLeftOfObjects(t *testing.T) {
	t.Parallel()
	object := func(outcome purge.Outcome, settled int, until int) Object {
		return Object{Name: "a.pdf", Generation: "1", Outcome: outcome, SettledAt: day(settled), ListedAt: day(1), Until: day(until)}
	}
	directory := func(outcome purge.Outcome, settled int) Object {
		return Object{Outcome: outcome, SettledAt: day(settled)}
	}
	dir := purge.Directory{Bucket: "certs", Prefix: "downloads/x/"}
	at := func(n int) proof {
		return proof{empty: map[purge.Directory]time.Time{dir: *day(n)}}
	}
	for name, tc := range map[string]struct {
		objects []Object
		proof   proof
		want    []What
	}{
		"erased":                        {objects: []Object{object(purge.Erased, 2, 0)}},
		"listed":                        {objects: []Object{object(purge.Listed, 0, 0)}, want: []What{LeftDoubt}},
		"not proven":                    {objects: []Object{object(purge.NotProven, 2, 0)}, want: []What{LeftDoubt}},
		"restorable":                    {objects: []Object{object(purge.SoftDeleted, 2, 20)}, want: []What{LeftRestorable}},
		"restorable, until when?":       {objects: []Object{object(purge.SoftDeleted, 2, 0)}, want: []What{LeftRestorable}},
		"not restorable any more":       {objects: []Object{object(purge.SoftDeleted, 2, 9)}},
		"held":                          {objects: []Object{object(purge.HeldBack, 2, 0)}, want: []What{LeftKept}},
		"retained, the date is over":    {objects: []Object{object(purge.KeptUntil, 2, 3)}, want: []What{LeftKept}},
		"held, erased by another":       {objects: []Object{object(purge.HeldBack, 2, 0), object(purge.Erased, 3, 0)}},
		"erased, then held":             {objects: []Object{object(purge.HeldBack, 3, 0), object(purge.Erased, 2, 0)}, want: []What{LeftKept}},
		"held, the directory was empty": {objects: []Object{object(purge.HeldBack, 2, 0)}, proof: at(3)},
		"held, it was empty before": {
			objects: []Object{object(purge.HeldBack, 2, 0)}, proof: at(1), want: []What{LeftKept},
		},
		"absent": {objects: []Object{directory(purge.Absent, 2)}},
		"missing": {
			objects: []Object{directory(purge.Missing, 2)}, proof: at(3), want: []What{LeftDoubt},
		},
		"missing, accepted later": {
			objects: []Object{directory(purge.Missing, 2)}, proof: proof{accepted: map[purge.Directory]time.Time{dir: *day(3)}},
		},
		"missing, cleared later": {
			objects: []Object{directory(purge.Missing, 2)}, proof: proof{cleared: map[purge.CertificateID]time.Time{7: *day(3)}},
		},
		"missing, another cleared": {
			objects: []Object{directory(purge.Missing, 2)}, proof: proof{cleared: map[purge.CertificateID]time.Time{8: *day(3)}},
			want: []What{LeftDoubt},
		},
		"missing accepted": {objects: []Object{directory(purge.MissingAccepted, 2)}},
	} {
		c := Certificate{MadeAt: *day(10), Certificates: []Erasure{{
			CertificateID: 7, Directories: []Directory{{Bucket: dir.Bucket, Prefix: dir.Prefix, Objects: tc.objects}},
		}}}
		var got []What
		for _, l := range c.leftObjects(&tc.proof) {
			got = append(got, l.What)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
}

// TestEvidenceThatIsNotComplete: a request without documents has none to miss, unless its figures say so.
func TestEvidenceThatIsNotComplete(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		r    Request
		want bool
	}{
		"never attempted":   {Request{}, false},
		"whole":             {Request{Chain: &Chain{First: 1, Last: 2}, ObjectsErased: 4}, false},
		"the first is gone": {Request{Chain: &Chain{First: 2, Last: 2}}, true},
		"all is gone":       {Request{ObjectsErased: 4}, true},
		"links only":        {Request{ReferencesCleared: 1}, true},
	} {
		if _, got := tc.r.evidenceRemoved(); got != tc.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

// TestWhatChangesWithTimeIsNoDifference: whether an attempt runs, and the end of a request that runs again.
func TestWhatChangesWithTimeIsNoDifference(t *testing.T) {
	t.Parallel()
	attempt := mysql.TimelineEntry{Kind: mysql.TimelineAttempt, Attempt: 1, At: *day(1), Running: true}
	died := attempt
	died.Running, died.Died = false, true
	other := died
	other.Worker = "another"
	if !sameEntry(attempt, false)(died) || sameEntry(attempt, false)(other) {
		t.Error("of an attempt, only whether it runs may change")
	}
	end := mysql.TimelineEntry{Kind: mysql.TimelineEnded, At: *day(1), State: purge.Done}
	if sameEntry(end, false)(attempt) || !sameEntry(end, true)(attempt) {
		t.Error("an end may be gone only if the request has run again")
	}
}

// TestReferencesOfOtherServices: what a purge has left there is named, so that no operator looks for files of ours.
func TestReferencesOfOtherServices(t *testing.T) {
	t.Parallel()
	done := func(id purge.RequestID, kept int) Request {
		return Request{ID: id, State: purge.Done, ReferencesKept: kept}
	}
	for name, tc := range map[string]struct {
		c    Certificate
		want string
	}{
		"none": {Certificate{Requests: []Request{done(1, 1)}}, ""},
		"ours": {
			Certificate{LMS: LMS{LiveReferences: 1}, Requests: []Request{done(1, 0)}},
			"1 reference to a file is in the LMS, 0 of them in its history",
		},
		"another service's": {
			Certificate{LMS: LMS{LiveReferences: 1}, Requests: []Request{done(1, 3), done(2, 1), {ID: 3, State: purge.Failed, ReferencesKept: 5}}},
			"1 reference to a file is in the LMS, 0 of them in its history; request 2 has left 1 link to another service there",
		},
		"several": {
			Certificate{LMS: LMS{LiveReferences: 1, HistoryReferences: 2}, Requests: []Request{done(1, 3)}},
			"3 references to files are in the LMS, 2 of them in its history; request 1 has left 3 links to other services there",
		},
	} {
		if got := tc.c.referencesText(); got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}

// TestKeptLinksInTheText is about its grammar.
func TestKeptLinksInTheText(t *testing.T) {
	t.Parallel()
	for kept, want := range map[int]string{
		1: "\n    1 link of another service stays in the LMS\n", 2: "\n    2 links of other services stay in the LMS\n",
	} {
		var text strings.Builder
		c := Certificate{Kind: KindCertificate, Requests: []Request{{State: purge.Done, ReferencesKept: kept}}}
		c.WriteText(func(format string, args ...any) { fmt.Fprintf(&text, format, args...) })
		if !strings.Contains(text.String(), want) {
			t.Errorf("got %s", text.String())
		}
	}
}

// TestClearedLinksNameTheirTable in words of the LMS.
func TestClearedLinksNameTheirTable(t *testing.T) {
	t.Parallel()
	for table, want := range map[purge.Table]string{
		purge.Live:    "link cleared in 2 rows of the table of certificates, 2026-01-01T00:00:00Z",
		purge.History: "link cleared in 2 rows of the history table, 2026-01-01T00:00:00Z",
	} {
		if got := (Link{Table: table, Cleared: 2, At: day(1)}).Text(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
