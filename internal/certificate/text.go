package certificate

import (
	"slices"
	"time"

	"github.com/dustin/go-humanize/english"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// printer prints a text; it escapes what it is given, which may come from the ledger.
type printer func(format string, args ...any)

// WriteText prints the answers to what an auditor asks about one user, each under its question.
func (c *Certificate) WriteText(printf func(format string, args ...any)) {
	w := printer(printf)
	w("%s: user %d\n", c.Title(), c.UserID)
	if c.Installation != "" {
		w("%s\n", c.Installation)
	}
	w("Made at %s, from the ledger and the LMS as they were then. All times are UTC.\n%s\n",
		c.MadeAt.Format(time.RFC3339), c.Summary())
	found := c.Found()
	for _, part := range []struct {
		title string
		write func(printer)
		shown bool
	}{
		{"What was not erased, and why", c.notErased, c.openEnds()},
		{"What is under reservation", c.reserved, len(c.Reservations) > 0},
		{"Who asked, and when", c.whoAsked, true},
		{"What was deleted", c.whatWasDeleted, true},
		{"How it is proven", c.proof, true},
		{"Bucket settings, as read for the attempt", c.bucketSettings, found},
		{"What can still be recovered, and until when", c.stillThere, found},
		{"What certpurge cannot know", c.unknown, found},
		{"How this can be checked", c.hashes, true},
	} {
		if part.shown {
			w("\n%s\n", part.title)
			part.write(w)
		}
	}
}

func (c *Certificate) reserved(w printer) {
	for _, r := range c.Reservations {
		w("  %s\n", r.Sentence())
	}
}

// hashes are those at the ends of chains, and of the document itself.
func (c *Certificate) hashes(w printer) {
	for _, r := range c.Requests {
		if r.Chain != nil {
			w("  request %d, documents %d to %d  %s\n", r.ID, r.Chain.First, r.Chain.Last, r.Chain.Hash)
		}
	}
	for _, a := range c.Anchors {
		w("  anchor %d of %s  %s\n", a.ID, a.At.Format(time.RFC3339), a.Hash)
	}
	w("  These are SHA-256, over all documents up to there. enqueuer verify compares them with the documents.\n")
	if s := c.Signature; s != nil {
		w("  The JSON form is signed with the %s key %s; enqueuer verify FILE.json checks it.\n", s.Algorithm, s.KeyID)
	}
}

// Found reports whether the evidence names an object or a link.
func (c *Certificate) Found() bool { return len(c.Certificates) > 0 }

func (c *Certificate) whoAsked(w printer) {
	for _, r := range c.Requests {
		w("  request %d", r.ID)
		if r.CertificateID != 0 {
			w(", for LMS certificate %d only", r.CertificateID)
		}
		w(" (%s)\n", r.Source)
		for _, e := range r.Timeline {
			if e.Kind != mysql.TimelineAttempt && e.Kind != mysql.TimelineMigrated {
				w("    %s  %s\n", e.At.Format(time.RFC3339), EntryText(e))
			}
		}
		if !r.State.Ended() {
			w("    it is %s: this is not the last word\n", r.State)
		}
	}
}

func (c *Certificate) whatWasDeleted(w printer) {
	for _, p := range c.Prunings {
		w("  Evidence from before %s was removed on %s by %s.\n", p.Before.UTC().Format(time.DateOnly),
			p.At.UTC().Format(time.DateOnly), p.By)
	}
	for _, r := range c.Requests {
		if len(c.Prunings) > 0 && r.ObjectsErased+r.ReferencesCleared > 0 {
			w("  By its figures, request %d has erased %s and cleared %s.\n", r.ID,
				english.Plural(r.ObjectsErased, "object", ""), english.Plural(r.ReferencesCleared, "link", ""))
		}
	}
	if !c.Found() {
		w("  Nothing: the evidence names no object and no link.\n")
	}
	for _, of := range c.Certificates {
		w("  LMS certificate %d\n", of.CertificateID)
		for _, dir := range of.Directories {
			w("    %s\n", dir.URL())
			for _, o := range dir.Objects {
				w("      %s: %s\n", o.nameText(), o.OutcomeText())
			}
		}
		for _, l := range of.Links {
			w("    %s\n", l.Text())
		}
	}
}

func (c *Certificate) proof(w printer) {
	listed := printed{c}.Listed()
	for _, dir := range listed {
		w("  %s\n", dir.URL())
		for _, l := range dir.Listings {
			w("    listed %s\n", l.text())
		}
	}
	switch links := slices.ContainsFunc(c.Certificates, func(e Erasure) bool { return len(e.Links) > 0 }); {
	case len(listed) == 0 && c.Found():
		w("  No listing is written down: this evidence is that of an earlier version.\n")
	case links:
		w("  These listings are complete, noncurrent generations included. Links were cleared only after the\n" +
			"  last one had shown nothing.\n")
	}
	for _, r := range c.Requests {
		for _, e := range r.Timeline {
			if len(e.Documents) > 0 {
				w("  request %d, %s\n    %s\n", r.ID, EntryText(e), c.documentsText(e.Documents))
			}
		}
	}
}

func (c *Certificate) bucketSettings(w printer) {
	for _, text := range c.settings() {
		w("  %s\n", text)
	}
	if c.settingsMissing() {
		w("  Of some attempts the settings are not written down.\n")
	}
}

// openEnds reports whether something is left, or a request of the user did not end as plainly done.
func (c *Certificate) openEnds() bool {
	return len(c.Left) > 0 || slices.ContainsFunc(c.Requests, func(r Request) bool { return !r.plainlyDone() })
}

func (r Request) plainlyDone() bool {
	return r.State == purge.Done && r.Reason == purge.ReasonNone && r.ReferencesKept == 0
}

func (c *Certificate) notErased(w printer) {
	for _, r := range c.Requests {
		if r.plainlyDone() {
			continue
		}
		w("  %s\n", r.standing())
		switch {
		case r.ReferencesKept > 0:
			w("    %s in the LMS\n", english.Plural(r.ReferencesKept, "link of another service stays",
				"links of other services stay"))
		case r.State != purge.Done:
			w("    links of certificates that are not in the list of what was deleted stay in the LMS\n")
		}
	}
	for _, l := range c.Left {
		if l.What != LeftRequest {
			w("  %s\n", l.Sentence())
		}
	}
}

// Sentence is what is left, with where it is.
func (l Left) Sentence() string {
	if l.Bucket == "" {
		return l.Text
	}
	text := "gs://" + l.Bucket + "/" + l.Object + ": " + l.Text
	if l.Until != nil {
		text += " until " + clock(l.Until)
	}
	return text
}

func (c *Certificate) stillThere(w printer) { w.wrapped(c.RecoverableTexts()) }

func (c *Certificate) unknown(w printer) { w.wrapped(c.OutOfReach) }

// wrapped prints sentences in lines of a terminal.
func (w printer) wrapped(texts []string) {
	for _, text := range texts {
		for _, line := range cli.Fold(text, 98) {
			w("  %s\n", line)
		}
	}
}
