package certificate

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// Title is what the document is called.
func (c *Certificate) Title() string {
	switch {
	case c.leaves(LeftChanged):
		return "Statement: the evidence is not as it was written"
	case c.Kind != KindCertificate:
		return "Statement of what is left"
	case len(c.Reservations) > 0:
		return "Certificate of erasure, with a reservation"
	}
	return "Certificate of erasure"
}

// Summary is the document in one or two sentences.
func (c *Certificate) Summary() string {
	if c.Kind != KindCertificate {
		return fmt.Sprintf("This is no certificate for user %d: %s.", c.UserID, c.Reason())
	}
	erased, cleared := c.figures()
	figures := english.Plural(erased, "object", "") + " deleted, " + english.Plural(cleared, "link", "") + " cleared"
	switch {
	case len(c.Reservations) > 0:
		return fmt.Sprintf("Of the legacy certificates of user %d, what was found is erased: %s. Files were expected in %s "+
			"that held none, and may be elsewhere.", c.UserID, figures,
			english.Plural(len(c.Reservations), "directory", "directories"))
	case erased+cleared == 0:
		return fmt.Sprintf("Nothing was found to erase for user %d, and the LMS holds no link to a file of theirs.", c.UserID)
	}
	return fmt.Sprintf("The legacy certificates of user %d are erased: %s, and nothing is left.", c.UserID, figures)
}

// Reason says why a statement is no certificate.
func (c *Certificate) Reason() string {
	changed := c.leaves(LeftChanged)
	other := slices.ContainsFunc(c.Left, func(l Left) bool { return l.What != LeftChanged })
	switch {
	case changed && other:
		return "the evidence is not as it was written, and something is left, or may be"
	case changed:
		return "the evidence is not as it was written"
	}
	return "something is left, or may be"
}

func (c *Certificate) leaves(what What) bool {
	return slices.ContainsFunc(c.Left, func(l Left) bool { return l.What == what })
}

// figures count the objects that were erased, and the links that were cleared.
func (c *Certificate) figures() (erased, cleared int) {
	c.each(func(_ Erasure, _ Directory, o Object) {
		if o.Outcome == purge.Erased || o.Outcome == purge.SoftDeleted {
			erased++
		}
	})
	for _, of := range c.Certificates {
		for _, l := range of.Links {
			cleared += l.Cleared
		}
	}
	return erased, cleared
}

// EntryText is the sentence of an entry of a timeline.
func EntryText(e mysql.TimelineEntry) string {
	switch e.Kind {
	case mysql.TimelineRequested:
		return "requested" + byWhom(e)
	case mysql.TimelineKey:
		return "another idempotency key leads here" + byWhom(e)
	case "resubmitted":
		return "submitted again" + byWhom(e) + "; nothing changed"
	case "reopened":
		return "opened again" + byWhom(e)
	case acceptedMissing:
		return "missing files accepted" + byWhom(e)
	case "accepted_shared":
		return "shared directory accepted" + byWhom(e)
	case mysql.TimelineMigrated:
		return "evidence of an earlier version became documents"
	case mysql.TimelineAttempt:
		return attemptText(e)
	case mysql.TimelineEnded:
		return "ended as " + endText(e)
	default:
		return e.Kind + byWhom(e)
	}
}

func byWhom(e mysql.TimelineEntry) string {
	text := ""
	if e.Actor != "" {
		text += " by " + e.Actor
	}
	if e.Ticket != "" {
		text += ", ticket " + e.Ticket
	}
	return text
}

func endText(e mysql.TimelineEntry) string {
	if e.Reason == "" {
		return string(e.State)
	}
	return fmt.Sprintf("%s (%s)", e.State, e.Reason)
}

func attemptText(e mysql.TimelineEntry) string {
	var by []string
	for _, text := range []string{e.Worker, e.Software} {
		if text != "" {
			by = append(by, text)
		}
	}
	text := fmt.Sprintf("attempt %d began", e.Attempt)
	if len(by) > 0 {
		text += " (" + strings.Join(by, ", ") + ")"
	}
	switch {
	case e.Running:
		return text + "; intents written, it is running"
	case e.Died:
		return text + "; intents written, no record: the worker died"
	}
	text += "; ended " + e.Ended.UTC().Format(time.RFC3339) + " as " + endText(e)
	if e.Cleared > 0 {
		text += fmt.Sprintf(", links cleared %d", e.Cleared)
	}
	return text
}

// URL is where the directory is.
func (d Directory) URL() string { return "gs://" + d.Bucket + "/" + d.Prefix }

// nameText is the object's name, generation and size.
func (o Object) nameText() string {
	if o.Generation == "" {
		return cmp.Or(o.Name, "the directory")
	}
	return fmt.Sprintf("%s, generation %s, %s", o.Name, o.Generation, english.Plural(int(o.Size), "byte", ""))
}

// OutcomeText describes the outcome of an object.
func (o Object) OutcomeText() string {
	text := map[purge.Outcome]string{
		purge.Listed: "about to be deleted; no record says more yet", purge.Erased: "erased",
		purge.SoftDeleted: "deleted " + clock(o.SettledAt) + ", can be restored until " + clock(o.Until),
		purge.HeldBack:    "not deleted: a hold protects it, seen",
		purge.KeptUntil:   "not deleted: retained until " + clock(o.Until) + ", seen",
		purge.NotProven:   "not proven to be gone",
		purge.Absent:      "was empty", purge.Missing: "was empty although files were expected, so the link was kept",
		purge.MissingAccepted: "was empty although files were expected, which was accepted",
	}[o.Outcome]
	text = cmp.Or(text, string(o.Outcome))
	if o.SettledAt != nil && o.Outcome != purge.SoftDeleted {
		text += " " + clock(o.SettledAt)
	}
	if o.AcceptedBy != "" {
		text += ", accepted by " + o.AcceptedBy
	}
	return text
}

// Text describes the outcome of a link.
func (l Link) Text() string {
	if l.External {
		return "link to another service; nothing of it was touched"
	}
	table := "the table of certificates"
	if l.Table == purge.History {
		table = "the history table"
	}
	return fmt.Sprintf("link cleared in %s of %s, %s", english.Plural(l.Cleared, "row", ""), table, clock(l.At))
}

// Span is from when to when a listing went.
func (l Listing) Span() string {
	const layout = "15:04:05.000"
	return l.Began.UTC().Format("2006-01-02 "+layout) + " to " + l.Ended.UTC().Format(layout)
}

// text says in words what a listing has shown.
func (l Listing) text() string {
	if l.Generations == 0 {
		return l.Span() + ": nothing"
	}
	return l.Span() + ": " + english.Plural(l.Generations, "generation", "")
}

// VersioningText says whether the bucket kept noncurrent generations.
func (b Bucket) VersioningText() string {
	if b.Versioning {
		return "on"
	}
	return "off"
}

// SoftDeleteText says for how long the bucket kept deleted objects.
func (b Bucket) SoftDeleteText() string {
	switch {
	case b.SoftDeleteUnknown:
		return "not told by the service"
	case b.SoftDelete > 0:
		return spell(b.SoftDelete)
	}
	return "off"
}

// RetentionText says how old an object had to be to be deleted.
func (b Bucket) RetentionText() string {
	if b.Retention > 0 {
		return spell(b.Retention)
	}
	return "none"
}

func spell(seconds int64) string { return config.FormatDuration(time.Duration(seconds) * time.Second) }

func clock(t *time.Time) string {
	if t == nil {
		return "an unknown time"
	}
	return t.UTC().Format(time.RFC3339)
}

// Read is when the settings were read, as far as it is known.
func (b Bucket) Read() time.Time {
	if b.ReadAt != nil {
		return b.ReadAt.UTC()
	}
	return b.RecordedAt.UTC()
}

// settings are the different settings that attempts have met, each once a day, in words.
func (c *Certificate) settings() (all []string) {
	seen := map[string]bool{}
	for _, b := range c.Buckets {
		text := fmt.Sprintf("%s: versioning %s, soft delete %s, retention %s (%s)", b.Name, b.VersioningText(),
			b.SoftDeleteText(), b.RetentionText(), b.Read().Format(time.DateOnly))
		if !seen[text] {
			seen[text] = true
			all = append(all, text)
		}
	}
	return all
}

// settingsMissing reports whether an attempt that recorded an object recorded no settings of its bucket.
func (c *Certificate) settingsMissing() (missing bool) {
	type attempt struct {
		bucket  string
		request purge.RequestID
		number  int
	}
	known := map[attempt]bool{}
	for _, b := range c.Buckets {
		known[attempt{b.Name, b.RequestID, b.Attempt}] = true
	}
	c.each(func(_ Erasure, d Directory, o Object) {
		missing = missing || !known[attempt{d.Bucket, o.RequestID, o.Attempt}]
	})
	return missing
}

// RecoverableTexts say what can still be recovered.
func (c *Certificate) RecoverableTexts() (all []string) {
	r := c.Recoverable
	if r.SoftDeleted > 0 {
		all = append(all, fmt.Sprintf("%s, by soft delete, until %s.", english.Plural(r.SoftDeleted, "object", ""),
			clock(r.Until)))
	}
	if r.Kept > 0 {
		all = append(all, english.Plural(r.Kept, "object", "")+
			" that a hold or a retention protects, and that was therefore not deleted.")
	}
	if r.Doubtful > 0 {
		all = append(all, fmt.Sprintf("In doubt: %s or directories, as their outcomes above say.",
			english.Plural(r.Doubtful, "object", "")))
	}
	if len(all) == 0 {
		all = append(all, "Nothing in the directories above: the bucket lists no generation there, and names none that soft "+
			"delete could restore.")
	}
	if r.SoftDeleteUnknown {
		all = append(all, "The service did not tell whether it keeps deleted objects for a while (soft delete).")
	}
	return all
}

// documentsText names the documents of an attempt, and the anchor that the last of them is in.
func (c *Certificate) documentsText(ids []int64) string {
	var names []string
	for _, id := range ids {
		names = append(names, strconv.FormatInt(id, 10))
	}
	text := "document " + strings.Join(names, ", ")
	for _, a := range c.Anchors {
		if slices.Contains(a.Documents, ids[len(ids)-1]) {
			return fmt.Sprintf("%s: in anchor %d of %s", text, a.ID, a.At.Format(time.RFC3339))
		}
	}
	return text + ": in no anchor yet"
}
