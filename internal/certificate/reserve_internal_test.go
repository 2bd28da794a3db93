package certificate

import (
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// TestReservations: a directory is under reservation until a file of it is found after all.
func TestReservations(t *testing.T) {
	t.Parallel()
	accepted := Object{Outcome: purge.MissingAccepted, AcceptedBy: "bob", SettledAt: day(5), RequestID: 1}
	found := func(settled int) Object {
		return Object{Name: "a.pdf", Generation: "1", Outcome: purge.Erased, SettledAt: day(settled)}
	}
	event := func(n int, kind, actor string) mysql.TimelineEntry {
		return mysql.TimelineEntry{At: *day(n), Kind: kind, Actor: actor}
	}
	for name, tc := range map[string]struct {
		objects  []Object
		timeline []mysql.TimelineEntry
		want     *time.Time // none: no reservation
	}{
		"nothing accepted":    {objects: []Object{found(5)}},
		"by a setting":        {objects: []Object{accepted}, want: day(5)},
		"found before":        {objects: []Object{found(4), accepted}, want: day(5)},
		"found later":         {objects: []Object{accepted, found(6)}},
		"by an operator":      {objects: []Object{accepted}, timeline: []mysql.TimelineEntry{event(3, acceptedMissing, "bob")}, want: day(3)},
		"twice":               {objects: []Object{accepted}, timeline: []mysql.TimelineEntry{event(2, acceptedMissing, "bob"), event(3, acceptedMissing, "bob")}, want: day(3)},
		"again later":         {objects: []Object{accepted}, timeline: []mysql.TimelineEntry{event(3, acceptedMissing, "bob"), event(6, acceptedMissing, "bob")}, want: day(3)},
		"for an office":       {objects: []Object{accepted}, timeline: []mysql.TimelineEntry{event(3, acceptedMissing, "cli, bob for it")}, want: day(3)},
		"by another, earlier": {objects: []Object{accepted}, timeline: []mysql.TimelineEntry{event(3, acceptedMissing, "eve"), event(4, "reopened", "bob")}, want: day(5)},
	} {
		c := Certificate{
			Requests: []Request{{ID: 1, Timeline: tc.timeline}},
			Certificates: []Erasure{
				{Directories: []Directory{{Bucket: "certs", Prefix: "downloads/x/", Objects: tc.objects}}},
			},
		}
		got := c.reservations()
		if tc.want == nil && len(got) == 0 {
			continue
		}
		want := Reservation{reservedMissing, 1, "certs", "downloads/x/", "bob", day(5).UTC()}
		if tc.want != nil {
			want.AcceptedAt = *tc.want
		}
		if name == "for an office" {
			want.AcceptedBy = "cli, bob for it"
		}
		if tc.want == nil || len(got) != 1 || got[0] != want {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}
