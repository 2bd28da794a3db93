package certificate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// Reservation is what a certificate does not vouch for, because an operator or a setting has accepted it.
type Reservation struct {
	What       string          `json:"what"` // ReservedMissing
	RequestID  purge.RequestID `json:"request_id"`
	Bucket     string          `json:"bucket"`
	Prefix     string          `json:"prefix"`
	AcceptedBy string          `json:"accepted_by"` // who, or which setting
	AcceptedAt time.Time       `json:"accepted_at"`
}

// ReservedMissing is a directory that held nothing although files were expected in it.
const ReservedMissing = "missing_files"

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
				What: ReservedMissing, RequestID: o.RequestID, Bucket: dir.Bucket, Prefix: dir.Prefix,
				AcceptedBy: by, AcceptedAt: at,
			})
		}
	}
	slices.SortFunc(all, func(a, b Reservation) int {
		return cmp.Or(cmp.Compare(a.Bucket, b.Bucket), cmp.Compare(a.Prefix, b.Prefix))
	})
	return all
}

// accepted says who accepted what an outcome says, and when: as the event tells it, which may name more than the
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
