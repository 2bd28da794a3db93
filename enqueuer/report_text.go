package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/evidence"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// audit is all that the ledger says about one user, for a reader who has nothing else.
type audit struct {
	user     purge.UserID
	now      time.Time
	requests []mysql.Request
	timeline []mysql.TimelineEntry
	objects  []mysql.EvidenceRecord
	links    []mysql.EvidenceRecord
	anchors  map[int64]mysql.AnchorOf // of documents; those that are in none are left out
	prunings []mysql.Pruning
}

func readAudit(ctx context.Context, store *mysql.Store, user purge.UserID) (*audit, error) {
	a := &audit{user: user, now: time.Now(), anchors: map[int64]mysql.AnchorOf{}}
	err := store.EachEvidence(ctx, mysql.EvidenceFilter{User: user}, func(r mysql.EvidenceRecord) error {
		if r.Kind == "links" {
			a.links = append(a.links, r)
		} else {
			a.objects = append(a.objects, r)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = store.EachRequest(ctx, mysql.Filter{User: user}, func(page []mysql.Request) error {
		a.requests = append(a.requests, page...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if a.prunings, err = store.Prunings(ctx); err != nil {
		return nil, err
	}
	if a.timeline, err = store.Timeline(ctx, a.requests); err != nil {
		return nil, err
	}
	for _, e := range a.timeline {
		for _, id := range e.Documents {
			if a.anchors[id], err = store.AnchorOfDocument(ctx, id); err != nil {
				return nil, err
			}
		}
	}
	return a, nil
}

// reportText prints the answers to what an auditor asks about one user, each under its question. Of a user whose
// requests have left nothing that could be proven, it prints who asked and how that ended.
func (a *app) reportText(ctx context.Context, store *mysql.Store, user purge.UserID) (found bool, err error) {
	all, err := readAudit(ctx, store, user)
	if err != nil || len(all.requests) == 0 {
		return false, err
	}
	found = len(all.objects)+len(all.links) > 0
	w := page{a.streams.Out}
	w.printf("Legacy certificates of user %d, as the ledger told at %s. All times are UTC.\n", user,
		all.now.UTC().Format(time.RFC3339))
	for _, part := range []struct {
		title string
		write func(page)
		shown bool
	}{
		{"Who asked, and when", all.whoAsked, true},
		{"What was deleted", all.whatWasDeleted, true},
		{"How it is proven", all.proof, true},
		{"Bucket settings, as read for the attempt", all.settings, found},
		{"What was not erased, and why", all.notErased, all.openEnds()},
		{"What can still be recovered, and until when", all.recoverable, found},
		{"What certpurge cannot know", all.unknown, found},
	} {
		if part.shown {
			w.printf("\n%s\n", part.title)
			part.write(w)
		}
	}
	return found, nil
}

// page is where a text is printed; what it is given may come from the ledger.
type page struct{ io.Writer }

func (w page) printf(format string, args ...any) { cli.Printf(w, format, args...) }

func (t *audit) whoAsked(w page) {
	for _, r := range t.requests {
		w.printf("  request %d", r.ID)
		if r.CertificateID != 0 {
			w.printf(", for certificate %d only", r.CertificateID)
		}
		w.printf(" (%s)\n", r.Source)
		for _, e := range t.timeline {
			if e.Request == r.ID && e.Kind != mysql.TimelineAttempt && e.Kind != mysql.TimelineMigrated {
				w.printf("    %s  %s\n", e.At.UTC().Format(time.RFC3339), timelineText(e))
			}
		}
		if !r.State.Ended() {
			w.printf("    it is %s: this is not the last word\n", r.State)
		}
	}
}

// openEnds reports whether a request of the user did not end as plainly done.
func (t *audit) openEnds() bool {
	return slices.ContainsFunc(t.requests, func(r mysql.Request) bool {
		return r.State != purge.Done || r.Reason != purge.ReasonNone || r.ReferencesKept > 0
	})
}

func (t *audit) notErased(w page) {
	for _, r := range t.requests {
		if r.State == purge.Done && r.Reason == purge.ReasonNone && r.ReferencesKept == 0 {
			continue
		}
		text := string(r.State)
		if r.Reason != "" {
			text += " (" + string(r.Reason) + ")"
		}
		w.printf("  request %d is %s", r.ID, text)
		if r.Detail != "" {
			w.printf(": %s", r.Detail)
		}
		w.printf("\n")
		switch {
		case r.ReferencesKept > 0:
			w.printf("    %s of other services stay in the LMS\n", english.Plural(r.ReferencesKept, "link", ""))
		case r.State != purge.Done:
			w.printf("    links of certificates that are not in the list of what was deleted stay in the LMS\n")
		}
	}
}

func (t *audit) whatWasDeleted(w page) {
	for _, p := range t.prunings {
		w.printf("  Evidence from before %s was removed on %s by %s.\n", p.Before.UTC().Format(time.DateOnly),
			p.At.UTC().Format(time.DateOnly), p.By)
	}
	for _, r := range t.requests {
		if len(t.prunings) > 0 && r.ObjectsErased+r.ReferencesCleared > 0 {
			w.printf("  By its figures, request %d has erased %s and cleared %s.\n", r.ID,
				english.Plural(r.ObjectsErased, "object", ""), english.Plural(r.ReferencesCleared, "link", ""))
		}
	}
	var certificates []purge.CertificateID
	for _, r := range slices.Concat(t.objects, t.links) {
		if !slices.Contains(certificates, r.CertificateID) {
			certificates = append(certificates, r.CertificateID)
		}
	}
	if len(certificates) == 0 {
		w.printf("  Nothing: the evidence names no object and no link.\n")
	}
	for _, c := range certificates {
		w.printf("  certificate %d\n", c)
		last := ""
		for _, r := range t.objects {
			if r.CertificateID != c {
				continue
			}
			dir := directoryOf(r)
			if dir != "" && dir != last {
				w.printf("    %s\n", dir)
				last = dir
			}
			w.printf("      %s: %s\n", nameOf(r), outcomeOf(r))
		}
		for _, r := range t.links {
			if r.CertificateID == c {
				w.printf("    link cleared in %s of the table of %s certificates, %s\n",
					english.Plural(r.ReferencesCleared, "row", ""), r.SourceTable, clock(r.At))
			}
		}
	}
}

// directoryOf is where an object is; empty for a link that leads elsewhere.
func directoryOf(r mysql.EvidenceRecord) string {
	if r.Bucket == "" {
		return ""
	}
	return "gs://" + r.Bucket + "/" + r.Name[:strings.LastIndexByte(r.Name, '/')+1]
}

// nameOf is an object's name in its directory.
func nameOf(r mysql.EvidenceRecord) string {
	name := r.Name[strings.LastIndexByte(r.Name, '/')+1:]
	switch {
	case r.Bucket == "":
		return r.Name
	case r.Generation == 0:
		return "the directory"
	default:
		return fmt.Sprintf("%s, generation %d, %s", name, r.Generation, english.Plural(int(r.Size), "byte", ""))
	}
}

// outcomeOf says in words what became of an object.
func outcomeOf(r mysql.EvidenceRecord) string {
	text := map[purge.Outcome]string{
		purge.Listed: "about to be deleted; no record says more yet", purge.Erased: "erased",
		purge.SoftDeleted: "deleted " + clock(r.At) + ", can be restored until " + clock(r.Until),
		purge.HeldBack:    "not deleted: a hold protects it, seen",
		purge.KeptUntil:   "not deleted: retained until " + clock(r.Until) + ", seen",
		purge.NotProven:   "not proven to be gone",
		purge.Absent:      "was empty", purge.Missing: "was empty although files were expected, so the link was kept",
		purge.MissingAccepted: "was empty although files were expected, which was accepted",
		purge.External:        "link to another service; nothing of it was touched",
	}[r.Outcome]
	text = cmp.Or(text, string(r.Outcome))
	if r.At != nil && r.Outcome != purge.External && r.Outcome != purge.SoftDeleted {
		text += " " + clock(r.At)
	}
	if r.AcceptedBy != "" {
		text += ", accepted by " + r.AcceptedBy
	}
	return text
}

func clock(t *time.Time) string {
	if t == nil {
		return "an unknown time"
	}
	return t.UTC().Format(time.RFC3339)
}

func (t *audit) proof(w page) {
	told := map[string]bool{}
	for _, r := range t.objects {
		if dir := directoryOf(r); len(r.Listings) > 0 && !told[dir] {
			told[dir] = true
			w.printf("  %s\n", dir)
			for _, l := range r.Listings {
				w.printf("    listed %s\n", listingText(l))
			}
		}
	}
	switch {
	case len(told) == 0 && len(t.objects) > 0:
		w.printf("  No listing is written down: this evidence is that of an earlier version.\n")
	case len(t.links) > 0:
		w.printf("  These listings are complete, noncurrent generations included. Links were cleared only after the\n" +
			"  last one had shown nothing.\n")
	}
	for _, e := range t.timeline {
		if len(e.Documents) == 0 {
			continue
		}
		w.printf("  request %d, %s\n    %s\n", e.Request, timelineText(e), t.documentsText(e.Documents))
	}
	w.printf("  Documents of a request are chained by SHA-256, and anchors are over all documents. enqueuer verify\n"+
		"  shows whether they are as they were written; enqueuer report --user %d -o documents prints them.\n", t.user)
}

func listingText(l evidence.Listing) string {
	text := "nothing"
	if l.Generations > 0 {
		text = english.Plural(l.Generations, "generation", "")
	}
	const layout = "15:04:05.000"
	return fmt.Sprintf("%s to %s: %s", l.Began.UTC().Format("2006-01-02 "+layout), l.Ended.UTC().Format(layout), text)
}

// documentsText names documents, and the anchor that they are in.
func (t *audit) documentsText(ids []int64) string {
	var names []string
	anchored := mysql.AnchorOf{}
	for _, id := range ids {
		names = append(names, number(id))
		anchored = t.anchors[id]
	}
	text := "document " + strings.Join(names, ", ")
	if anchored.Anchor == 0 {
		return text + ": in no anchor yet"
	}
	return fmt.Sprintf("%s: in anchor %d of %s", text, anchored.Anchor, anchored.At.UTC().Format(time.RFC3339))
}

func (t *audit) settings(w page) {
	var told []string
	unknown := false
	for _, r := range t.objects {
		switch {
		case r.Bucket == "":
		case r.Settings == nil:
			unknown = true
		default:
			text := settingsText(*r.Settings)
			if r.Listings != nil {
				text += fmt.Sprintf(" (%s)", r.Listings[0].Began.UTC().Format(time.DateOnly))
			}
			if !slices.Contains(told, text) {
				told = append(told, text)
			}
		}
	}
	for _, text := range told {
		w.printf("  %s\n", text)
	}
	if unknown {
		w.printf("  Of some attempts the settings are not written down.\n")
	}
}

func settingsText(b evidence.Bucket) string {
	versioning, softDelete, retention := "off", "off", "none"
	if b.Versioning {
		versioning = "on"
	}
	if b.SoftDelete > 0 {
		softDelete = spell(b.SoftDelete)
	}
	if b.SoftDeleteUnknown {
		softDelete = "not told by the service"
	}
	if b.Retention > 0 {
		retention = spell(b.Retention)
	}
	return fmt.Sprintf("%s: versioning %s, soft delete %s, retention %s", b.Name, versioning, softDelete, retention)
}

func spell(seconds int64) string { return config.FormatDuration(time.Duration(seconds) * time.Second) }

func (t *audit) recoverable(w page) {
	var until time.Time
	restorable, stored, doubtful := 0, 0, 0
	for _, r := range t.objects {
		switch {
		case r.Outcome == purge.SoftDeleted && (r.Until == nil || r.Until.After(t.now)):
			restorable++
			if r.Until != nil && r.Until.After(until) {
				until = *r.Until
			}
		case r.Outcome.Kept():
			stored++
		case r.Outcome == purge.Listed, r.Outcome == purge.NotProven, r.Outcome == purge.Missing:
			doubtful++
		}
	}
	if restorable > 0 {
		w.printf("  %s, by soft delete, until %s.\n", english.Plural(restorable, "object", ""), clock(&until))
	}
	if stored > 0 {
		w.printf("  %s that a hold or a retention protects, and that was therefore not deleted.\n",
			english.Plural(stored, "object", ""))
	}
	if doubtful > 0 {
		w.printf("  In doubt: %s or directories, as their outcomes above say.\n", english.Plural(doubtful, "object", ""))
	}
	if restorable+stored+doubtful == 0 {
		w.printf("  Nothing in the directories above: the bucket lists no generation there, and names none that soft\n" +
			"  delete could restore.\n")
	}
	if slices.ContainsFunc(t.objects, func(r mysql.EvidenceRecord) bool {
		return r.Settings != nil && r.Settings.SoftDeleteUnknown
	}) {
		w.printf("  The service did not tell whether it keeps deleted objects for a while (soft delete).\n")
	}
}

func (t *audit) unknown(w page) {
	w.printf("  Copies that were made of the files before: downloads, e-mails, backups of the bucket, transfers to\n" +
		"  other buckets.\n")
	var caches []string
	for _, r := range t.objects {
		if r.CacheControl != "" && !slices.Contains(caches, r.CacheControl) {
			caches = append(caches, r.CacheControl)
		}
	}
	for _, header := range caches {
		w.printf("  Copies in caches, which may serve a file as long as it allowed: Cache-Control: %s.\n", header)
	}
	if len(caches) == 0 {
		w.printf("  Copies in caches: the files had no Cache-Control of their own, so the service's default counts: one\n" +
			"  hour, if they were public.\n")
	}
	w.printf("  Files that were put there after the last listing, and what administrators of the bucket or the ledger\n" +
		"  did outside of certpurge: the audit logs of the services say that.\n")
}

// reportDocuments prints the documents about a user, a line each: number in the ledger, request, number of the
// request's documents, hash in hex, and the document, separated by tabs, which canonical JSON does not hold. It is
// written as it is, byte for byte, because its hash is to be checked; only a terminal gets it escaped.
func (a *app) reportDocuments(ctx context.Context, store *mysql.Store, user purge.UserID) (found bool, err error) {
	out := a.streams.Out
	if cli.IsTerminal(out) {
		out = purge.EscapedJSON{W: out}
	}
	err = store.EachDocument(ctx, user, func(d mysql.LedgerDocument) error {
		found = true
		if _, err := fmt.Fprintf(out, "%d\t%d\t%d\t%x\t%s\n", d.ID, d.Request, d.Number, d.Hash, d.Text); err != nil {
			return errors.Join(errors.New("writing the documents"), err)
		}
		return nil
	})
	return found, err
}
