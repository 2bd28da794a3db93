package certificate

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/certpurge/certpurge/internal/evidence"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// Compare returns what the ledger says otherwise than the document; nothing if it says the same. What was added since
// the document was made is no difference: it is made again from the documents of evidence that were there then, which
// the hashes in it name, and the two are compared.
func Compare(ctx context.Context, l Ledger, c *Certificate) (differences []string, err error) {
	upTo := map[purge.RequestID]int{}
	for _, r := range c.Requests {
		if r.Chain != nil {
			upTo[r.ID] = r.Chain.Last
		}
	}
	audit, err := l.Audit(ctx, c.UserID, upTo)
	if err != nil {
		return nil, err //nolint:wrapcheck // it says what was read
	}
	say := func(format string, args ...any) { differences = append(differences, fmt.Sprintf(format, args...)) }
	changed := map[purge.RequestID]bool{} // requests of which the ledger itself shows that they were changed
	for _, trouble := range audit.Troubles {
		if !c.knew(troubleText(trouble)) {
			changed[trouble.Request] = true
			say("in the ledger, %s", troubleText(trouble))
		}
	}
	again, _ := fromLedger(audit, c.UserID, c.MadeAt)
	grown := slices.ContainsFunc(audit.Requests, func(r mysql.Request) bool { return r.OpenedAt.After(c.MadeAt) }) ||
		slices.ContainsFunc(audit.Documents, func(d evidence.Stored) bool { return !audit.Covers(d) })
	for _, r := range c.Requests {
		i := slices.IndexFunc(again.Requests, func(other Request) bool { return other.ID == r.ID })
		if i < 0 {
			say("request %d is not in the ledger", r.ID)
			continue
		}
		for _, text := range r.differences(again.Requests[i], audit, grown, changed[r.ID]) {
			say("%s", text)
		}
	}
	for _, a := range c.Anchors {
		for _, id := range a.Documents {
			if is, found := audit.Anchors[id]; !found || is.Anchor != a.ID || hexOf(is.Hash) != a.Hash || !is.At.Equal(a.At) {
				say("document %d is not in anchor %d with the hash %s", id, a.ID, a.Hash)
			}
		}
	}
	for _, part := range []struct {
		name        string
		here, there any
	}{
		{"what was erased and cleared", c.Certificates, again.Certificates},
		{"the settings of buckets", c.Buckets, again.Buckets},
		{"what can be recovered", c.Recoverable, again.Recoverable},
		{"what is out of reach", c.OutOfReach, again.OutOfReach},
		{"what is reserved", c.Reservations, again.Reservations},
	} {
		if !same(part.here, part.there) {
			say("the document and the ledger do not say the same about %s", part.name)
		}
	}
	return differences, nil
}

// knew reports whether the document was made of evidence that was known to be changed: a statement says so.
func (c *Certificate) knew(trouble string) bool {
	return slices.ContainsFunc(c.Left, func(l Left) bool { return l.What == LeftChanged && l.Text == trouble })
}

// differences compares a request of the document with the ledger's. grown says that more has happened to requests of
// the user since: figures and states may have moved with it. changed says that the request is named as changed already.
func (r Request) differences(is Request, audit *mysql.Audit, grown, changed bool) (all []string) {
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if r.Chain != nil {
		if there, found := hashOf(audit, r.ID, r.Chain.Last); !found {
			say("document %d of request %d is not in the ledger%s", r.Chain.Last, r.ID, pruned(audit))
		} else if there != r.Chain.Hash {
			say("document %d of request %d has the hash %s in the ledger: expected %s", r.Chain.Last, r.ID, there, r.Chain.Hash)
		}
	}
	if r.Chain != nil && is.Chain != nil && is.Chain.First > r.Chain.First {
		say("the first %d documents of request %d are not in the ledger%s", is.Chain.First-r.Chain.First, r.ID, pruned(audit))
	}
	if !changed && !same(r.origin(), is.origin()) {
		say("request %d has another certificate, source, time, ticket or account that asked in the ledger", r.ID)
	}
	ended := !grown && r.State.Ended()
	for _, e := range r.Timeline {
		row := e.Kind == mysql.TimelineRequested || e.Kind == mysql.TimelineEnded && ended // compared with the request
		if !row && !slices.ContainsFunc(is.Timeline, sameEntry(e, grown)) {
			say("%s", r.missing(e, is.Timeline))
		}
	}
	if ended && !same(r.end(), is.end()) {
		say("request %d has another state, reason, end or other figures in the ledger", r.ID)
	}
	return all
}

// missing says how an entry of the timeline differs in the ledger, or that the ledger lacks it.
func (r Request) missing(e mysql.TimelineEntry, there []mysql.TimelineEntry) string {
	i := slices.IndexFunc(there, func(other mysql.TimelineEntry) bool {
		return other.Kind == e.Kind && (other.At.Equal(e.At) || e.Attempt > 0 && other.Attempt == e.Attempt)
	})
	what := fmt.Sprintf("request %d, %s: %s", r.ID, e.At.Format(time.RFC3339), EntryText(e))
	if i < 0 {
		return what + ": the ledger does not say that"
	}
	return what + ": the ledger says " + there[i].At.Format(time.RFC3339) + ": " + EntryText(there[i])
}

// origin is what of a request never changes.
func (r Request) origin() Request {
	return Request{
		CertificateID: r.CertificateID, Source: r.Source, RequestedBy: r.RequestedBy, Ticket: r.Ticket,
		RequestedAt: r.RequestedAt.UTC(),
	}
}

// end is how a request has ended.
func (r Request) end() Request {
	return Request{
		State: r.State, Reason: r.Reason, Detail: r.Detail, FinishedAt: utc(r.FinishedAt), ObjectsErased: r.ObjectsErased,
		ReferencesCleared: r.ReferencesCleared, ReferencesKept: r.ReferencesKept,
	}
}

func hashOf(audit *mysql.Audit, request purge.RequestID, number int) (hash string, found bool) {
	for _, d := range audit.Documents {
		if d.Request == request && d.Number == number {
			return hexOf(d.Hash), true
		}
	}
	return "", false
}

// pruned says that evidence was removed on purpose, if it was.
func pruned(audit *mysql.Audit) string {
	if len(audit.Prunings) == 0 {
		return ""
	}
	last := audit.Prunings[len(audit.Prunings)-1]
	return fmt.Sprintf("; evidence from before %s was removed by %s", last.Before.UTC().Format(time.DateOnly), last.By)
}

// sameEntry compares entries of timelines. Whether an attempt without a record still runs changes with time, and so
// does the end of a request to which more has happened.
func sameEntry(e mysql.TimelineEntry, grown bool) func(mysql.TimelineEntry) bool {
	e.Running, e.Died = false, false
	return func(other mysql.TimelineEntry) bool {
		other.Running, other.Died = false, false
		return e.Kind == mysql.TimelineEnded && grown || same(e, other)
	}
}

// same reports whether two values have the same JSON, which is what a document is.
func same(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
