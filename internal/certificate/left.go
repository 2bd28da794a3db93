package certificate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"

	"github.com/certpurge/certpurge/internal/evidence"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// What says what is left.
type What string

// What can be left. Each of them alone makes a statement of the document.
const (
	LeftChanged    What = "evidence_changed" // evidence is not as it was written
	LeftRemoved    What = "evidence_removed" // evidence of what was erased is not there any more
	LeftRequest    What = "request"          // a request is open, or failed and no later one did its work
	LeftUndone     What = "nothing_done"     // no request of the user is done
	LeftReferences What = "references"       // the LMS holds references to files, for any reason
	LeftKept       What = "kept"             // a hold or a retention protected an object
	LeftDoubt      What = "doubt"            // the outcome of an object is not known, or where it is
	LeftRestorable What = "restorable"       // soft delete can restore an object
)

// left finds all that keeps the document from being a certificate.
func left(c *Certificate, audit *mysql.Audit, t *proof) (all []Left) {
	for _, trouble := range audit.Troubles {
		all = append(all, Left{What: LeftChanged, RequestID: trouble.Request, Text: troubleText(trouble)})
	}
	done := false
	for _, r := range c.Requests {
		done = done || r.State == purge.Done
		if l, removed := r.evidenceRemoved(); removed {
			all = append(all, l)
		}
		if r.unfinished(c.Requests) {
			all = append(all, Left{What: LeftRequest, RequestID: r.ID, Text: r.standing()})
		}
	}
	if !done {
		all = append(all, Left{What: LeftUndone, Text: "no request of the user is done"})
	}
	if text := c.referencesText(); text != "" {
		all = append(all, Left{What: LeftReferences, Text: text})
	}
	return append(all, c.leftObjects(t)...)
}

// referencesText says how many references the LMS holds, and which of them may be those of other services that a
// purge has left there; empty if it holds none.
func (c *Certificate) referencesText() string {
	n := c.LMS.LiveReferences + c.LMS.HistoryReferences
	if n == 0 {
		return ""
	}
	text := fmt.Sprintf("%s in the LMS, %d of them in its history",
		english.Plural(n, "reference to a file is", "references to files are"), c.LMS.HistoryReferences)
	for _, r := range slices.Backward(c.Requests) {
		if r.State == purge.Done && r.ReferencesKept > 0 {
			return text + fmt.Sprintf("; request %d has left %s there", r.ID,
				english.Plural(r.ReferencesKept, "link to another service", "links to other services"))
		}
	}
	return text
}

func troubleText(t evidence.Trouble) string {
	if t.Request != 0 && t.Document != 0 && t.Anchor == 0 {
		return fmt.Sprintf("%s (number %d in the ledger)", t.Text, t.Document)
	}
	return t.Text
}

// standing is what a request is now, as a sentence.
func (r Request) standing() string {
	text := fmt.Sprintf("request %d is %s", r.ID, r.State)
	if r.Reason != "" {
		text += " (" + string(r.Reason) + ")"
	}
	if r.Detail != "" {
		text += ": " + r.Detail
	}
	return text
}

// unfinished reports whether a request is open, or failed while no later one of at least its scope was done. One that
// was refused has touched nothing; what it may have left shows as a reference.
func (r Request) unfinished(all []Request) bool {
	switch r.State {
	case purge.Done, purge.Refused:
		return false
	case purge.Failed:
		for _, other := range all {
			covers := other.CertificateID == 0 || other.CertificateID == r.CertificateID
			if covers && other.State == purge.Done && later(other.FinishedAt, r.FinishedAt) {
				return false
			}
		}
	default:
	}
	return true
}

func later(a, b *time.Time) bool { return a != nil && b != nil && a.After(*b) }

// evidenceRemoved reports whether the figures of a request say more than its documents can, because the first of these
// are not there.
func (r Request) evidenceRemoved() (Left, bool) {
	whole := r.Chain != nil && r.Chain.First == 1
	if whole || r.Chain == nil && r.ObjectsErased+r.ReferencesCleared == 0 {
		return Left{}, false
	}
	return Left{What: LeftRemoved, RequestID: r.ID, Text: fmt.Sprintf(
		"the evidence of request %d is not complete; by its figures it has erased %s and cleared %s", r.ID,
		english.Plural(r.ObjectsErased, "object", ""), english.Plural(r.ReferencesCleared, "reference", ""))}, true
}

// generation is one generation of an object, or a directory, in all requests.
type generation struct {
	purge.Directory

	name, number string
}

// leftObjects finds objects and directories whose latest outcome does not say that they are gone for good.
func (c *Certificate) leftObjects(t *proof) (all []Left) {
	last := map[generation]time.Time{}
	c.each(func(_ Erasure, dir Directory, o Object) {
		key := generation{dir.name(), o.Name, o.Generation}
		last[key] = latest(last[key], o.when())
	})
	c.each(func(of Erasure, dir Directory, o Object) {
		if o.when().Before(last[generation{dir.name(), o.Name, o.Generation}]) {
			return // a later request has its outcome
		}
		resolved := latest(t.accepted[dir.name()], t.cleared[of.CertificateID])
		if l := o.left(c.MadeAt, t.empty[dir.name()], resolved); l.What != "" {
			l.RequestID, l.Bucket, l.Object, l.Until = o.RequestID, dir.Bucket, dir.Prefix+o.Name, o.Until
			all = append(all, l)
		}
	})
	return all
}

// left says whether an object is left at a moment, or may be. empty is when its directory was last shown to be empty,
// and resolved when it was last accepted that nothing was in it, or the references to it were cleared.
func (o Object) left(now, empty, resolved time.Time) Left {
	switch {
	case o.restorable(now):
		return Left{What: LeftRestorable, Text: "deleted, but soft delete can restore it"}
	case o.Outcome.Kept() && !empty.After(o.when()):
		return Left{What: LeftKept, Text: "not deleted: a hold or a retention protects it"}
	case o.Outcome == purge.Missing && !resolved.After(o.when()):
		return Left{What: LeftDoubt, Text: "files were expected here and not found, so they may be elsewhere"}
	case o.Outcome == purge.Listed, o.Outcome == purge.NotProven:
		return Left{What: LeftDoubt, Text: "it is not proven that this is gone"}
	}
	return Left{}
}

// when is when the outcome was last written down.
func (o Object) when() time.Time {
	switch {
	case o.SettledAt != nil:
		return *o.SettledAt
	case o.ListedAt != nil:
		return *o.ListedAt
	}
	return time.Time{}
}

// Reservation is what a certificate does not vouch for, because an operator or a setting has accepted it.
type Reservation struct {
	What       string          `json:"what"` // reservedMissing
	RequestID  purge.RequestID `json:"request_id"`
	Bucket     string          `json:"bucket"`
	Prefix     string          `json:"prefix"`
	AcceptedBy string          `json:"accepted_by"` // who, or which setting
	AcceptedAt time.Time       `json:"accepted_at"`
}

// reservedMissing is a directory that held nothing although files were expected in it.
const reservedMissing = "missing_files"

// reservations finds the directories that were accepted to be empty, and in which no file was found since.
func (c *Certificate) reservations() (all []Reservation) {
	last := map[purge.Directory]Object{}
	c.each(func(_ Erasure, dir Directory, o Object) {
		says := o.Outcome == purge.MissingAccepted || o.Outcome == purge.Erased || o.Outcome == purge.SoftDeleted
		if says && !o.when().Before(last[dir.name()].when()) {
			last[dir.name()] = o
		}
	})
	for dir, o := range last {
		if o.Outcome == purge.MissingAccepted {
			by, at := c.accepted(o)
			all = append(all, Reservation{
				What: reservedMissing, RequestID: o.RequestID, Bucket: dir.Bucket, Prefix: dir.Prefix,
				AcceptedBy: by, AcceptedAt: at,
			})
		}
	}
	slices.SortFunc(all, func(a, b Reservation) int {
		return cmp.Or(cmp.Compare(a.Bucket, b.Bucket), cmp.Compare(a.Prefix, b.Prefix))
	})
	return all
}

// accepted says who accepted what an outcome says, and when: as the event says it, which may name more than the
// account. A setting has no event; it was applied when the outcome was written down.
func (c *Certificate) accepted(o Object) (by string, at time.Time) {
	for _, r := range c.Requests {
		if r.ID != o.RequestID {
			continue
		}
		for _, e := range slices.Backward(r.Timeline) {
			if e.Kind == acceptedMissing && strings.Contains(e.Actor, o.AcceptedBy) && !e.At.After(o.when()) {
				return e.Actor, e.At
			}
		}
	}
	return o.AcceptedBy, o.when()
}

// acceptedMissing is the kind of the event.
const acceptedMissing = "accepted_missing"

// Sentence is what is reserved, with where it is.
func (r Reservation) Sentence() string {
	return fmt.Sprintf("gs://%s/%s: files were expected here and none was found, so they may be elsewhere; accepted by "+
		"%s, %s", r.Bucket, r.Prefix, r.AcceptedBy, clock(&r.AcceptedAt))
}
