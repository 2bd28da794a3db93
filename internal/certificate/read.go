package certificate

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"

	"github.com/certpurge/certpurge/internal/evidence"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// Ledger is where a certificate comes from, and what it is compared with.
type Ledger interface {
	// Audit reads all about a user in one snapshot, and compares it with its hashes. With upTo, it returns only what the
	// first documents of each request say, up to that number.
	Audit(ctx context.Context, user purge.UserID, upTo map[purge.RequestID]int) (*mysql.Audit, error)
	// Users reads retirement and references of users in the LMS; those that it does not have are missing.
	Users(ctx context.Context, ids []purge.UserID) (map[purge.UserID]purge.User, error)
}

// Origin is what a document says of where it was made.
type Origin struct {
	Installation string // the site and environment; empty for no name
	Software     string // the program and its version
}

// Maker returns what makes the document of a user, signed if a file with a private key is named; nil if no request was
// ever made for them. The key is read at once.
func Maker(l Ledger, keyFile string, from Origin) (func(context.Context, purge.UserID) (*Certificate, error), error) {
	var key ed25519.PrivateKey
	if keyFile != "" {
		var err error
		if key, err = readKey(keyFile); err != nil {
			return nil, fmt.Errorf("evidence.signing_key_file: %w", err)
		}
	}
	return func(ctx context.Context, user purge.UserID) (*Certificate, error) {
		c, err := Read(ctx, l, user, from, time.Now())
		if err != nil || c == nil || key == nil {
			return c, err
		}
		return c, c.Sign(key)
	}, nil
}

// Read makes the document of a user; nil if no request was ever made for them.
func Read(ctx context.Context, l Ledger, user purge.UserID, from Origin, now time.Time) (*Certificate, error) {
	audit, err := l.Audit(ctx, user, nil)
	if err != nil || len(audit.Requests) == 0 {
		return nil, err //nolint:wrapcheck // it says what was read
	}
	users, err := l.Users(ctx, []purge.UserID{user})
	if err != nil {
		return nil, err //nolint:wrapcheck // it says what was read
	}
	lms := LMS{ReadAt: now.UTC()}
	if u, exists := users[user]; exists {
		lms.UserExists, lms.Retirement, lms.State = u.Retirement.UserExists, u.Retirement.Requested, u.Retirement.State
		for _, ref := range u.References {
			if ref.Table == purge.History {
				lms.HistoryReferences++
			} else {
				lms.LiveReferences++
			}
		}
	}
	c, proof := fromLedger(audit, user, now)
	c.Installation, c.Software, c.LMS = from.Installation, from.Software, lms
	if c.Left = left(c, audit, proof); len(c.Left) > 0 {
		c.Kind = KindStatement
	}
	return c, nil
}

// fromLedger makes the parts of the document that come from the ledger.
func fromLedger(audit *mysql.Audit, user purge.UserID, now time.Time) (*Certificate, *proof) {
	t := readDocuments(audit)
	c := &Certificate{
		Version: Version, Kind: KindCertificate, UserID: user, MadeAt: now.UTC(), Requests: []Request{},
		Prunings: audit.Prunings, Buckets: t.buckets,
	}
	for _, r := range audit.Requests {
		c.Requests = append(c.Requests, tellRequest(r, audit))
	}
	for _, r := range audit.Evidence {
		c.addEvidence(r, t)
	}
	c.Anchors = tellAnchors(audit)
	c.Recoverable = c.recoverable()
	c.OutOfReach = c.outOfReach()
	c.Reservations = c.reservations()
	return c, t
}

func tellRequest(r mysql.Request, audit *mysql.Audit) Request {
	made := Request{
		ID: r.ID, CertificateID: r.CertificateID, Source: r.Source, RequestedBy: r.RequestedBy,
		RequestedAt: r.RequestedAt.UTC(), Ticket: r.Ticket, State: r.State, Reason: r.Reason, Detail: r.Detail,
		FinishedAt: utc(r.FinishedAt), ObjectsErased: r.ObjectsErased, ReferencesCleared: r.ReferencesCleared,
		ReferencesKept: r.ReferencesKept, Timeline: []mysql.TimelineEntry{},
	}
	for _, e := range audit.Timeline {
		if e.Request == r.ID {
			e.At, e.Ended = e.At.UTC(), utc(e.Ended)
			made.Timeline = append(made.Timeline, e)
		}
	}
	for _, d := range audit.Documents {
		if d.Request != r.ID {
			continue
		}
		if made.Chain == nil {
			made.Chain = &Chain{First: d.Number}
		}
		made.Chain.Last, made.Chain.Hash = d.Number, hexOf(d.Hash)
	}
	return made
}

// proof is what the documents say about the proof: complete listings and settings.
type proof struct {
	listings map[purge.Directory][]Listing
	buckets  []Bucket
	// empty is when a complete listing last showed nothing in a directory; accepted, when it was last accepted that
	// nothing was there although files were expected.
	empty, accepted map[purge.Directory]time.Time
	// cleared is when a request that was then done last cleared references of a certificate.
	cleared map[purge.CertificateID]time.Time
}

func readDocuments(audit *mysql.Audit) *proof {
	t := &proof{
		listings: map[purge.Directory][]Listing{}, empty: map[purge.Directory]time.Time{},
		accepted: map[purge.Directory]time.Time{}, cleared: map[purge.CertificateID]time.Time{},
	}
	for _, stored := range audit.Documents {
		d, err := evidence.Decode(stored.Text)
		if err != nil || d.Part != evidence.Record || !audit.Covers(stored) {
			continue // one that cannot be read is among the troubles
		}
		for _, dir := range d.Directories {
			name := purge.Directory{Bucket: dir.Bucket, Prefix: dir.Prefix}
			for _, l := range dir.Listings {
				t.listings[name] = append(t.listings[name], Listing{l, d.Request.ID, d.Attempt})
			}
			if dir.Proven {
				t.empty[name] = latest(t.empty[name], d.At)
			}
			if dir.Outcome == purge.MissingAccepted {
				t.accepted[name] = latest(t.accepted[name], d.At)
			}
		}
		for _, b := range d.Buckets {
			t.buckets = append(t.buckets, Bucket{b, d.Request.ID, d.Attempt, d.At})
		}
		for _, l := range d.Links {
			if l.Cleared > 0 && d.State == purge.Done {
				t.cleared[l.CertificateID] = latest(t.cleared[l.CertificateID], d.At)
			}
		}
	}
	for _, listings := range t.listings {
		slices.SortStableFunc(listings, func(a, b Listing) int { return a.Began.Compare(b.Began) })
	}
	return t
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// addEvidence adds a line of evidence where it belongs.
func (c *Certificate) addEvidence(r mysql.EvidenceRecord, t *proof) {
	i := slices.IndexFunc(c.Certificates, func(e Erasure) bool { return e.CertificateID == r.CertificateID })
	if i < 0 {
		i, c.Certificates = len(c.Certificates), append(c.Certificates, Erasure{CertificateID: r.CertificateID})
	}
	of := &c.Certificates[i]
	if r.Kind == "links" || r.Bucket == "" {
		of.Links = append(of.Links, Link{
			Table: r.SourceTable, Cleared: r.ReferencesCleared, External: r.Outcome == purge.External, At: utc(r.At),
			RequestID: r.RequestID, Attempt: r.Attempt,
		})
		return
	}
	name := r.Directory
	j := slices.IndexFunc(of.Directories, func(d Directory) bool { return d.name() == name })
	if j < 0 {
		j = len(of.Directories)
		of.Directories = append(of.Directories, Directory{
			Bucket: name.Bucket, Prefix: name.Prefix, Listings: t.listings[name], Objects: []Object{},
		})
	}
	o := Object{
		Name: strings.TrimPrefix(r.Name, name.Prefix), Size: r.Size, CacheControl: r.CacheControl, Outcome: r.Outcome,
		Until: utc(r.Until), AcceptedBy: r.AcceptedBy, ListedAt: utc(r.ListedAt), SettledAt: utc(r.At),
		RequestID: r.RequestID, Attempt: r.Attempt, Table: r.SourceTable, Unproven: len(r.Listings) == 0,
	}
	if r.Generation != 0 {
		o.Generation = strconv.FormatInt(r.Generation, 10)
	}
	of.Directories[j].Objects = append(of.Directories[j].Objects, o)
}

func tellAnchors(audit *mysql.Audit) (anchors []Anchor) {
	for _, d := range audit.Documents {
		a, anchored := audit.Anchors[d.ID]
		if !anchored {
			continue
		}
		i := slices.IndexFunc(anchors, func(known Anchor) bool { return known.ID == a.Anchor })
		if i < 0 {
			i, anchors = len(anchors), append(anchors, Anchor{ID: a.Anchor, At: a.At.UTC(), Hash: hexOf(a.Hash)})
		}
		anchors[i].Documents = append(anchors[i].Documents, d.ID)
	}
	slices.SortFunc(anchors, func(a, b Anchor) int { return int(a.ID - b.ID) })
	return anchors
}

// each calls do with every object.
func (c *Certificate) each(do func(Erasure, Directory, Object)) {
	for _, of := range c.Certificates {
		for _, dir := range of.Directories {
			for _, o := range dir.Objects {
				do(of, dir, o)
			}
		}
	}
}

func (d Directory) name() purge.Directory { return purge.Directory{Bucket: d.Bucket, Prefix: d.Prefix} }

// restorable reports whether soft delete could restore an object at a moment; without a date, it must be assumed.
func (o Object) restorable(now time.Time) bool {
	return o.Outcome == purge.SoftDeleted && (o.Until == nil || o.Until.After(now))
}

// doubtful reports whether the outcome of an object is not known, or of what a directory was expected to hold.
func (o Object) doubtful() bool {
	return o.Outcome == purge.Listed || o.Outcome == purge.NotProven || o.Outcome == purge.Missing
}

func (c *Certificate) recoverable() (r Recoverable) {
	c.each(func(_ Erasure, _ Directory, o Object) {
		switch {
		case o.restorable(c.MadeAt):
			r.SoftDeleted++
			if o.Until != nil && (r.Until == nil || o.Until.After(*r.Until)) {
				r.Until = o.Until
			}
		case o.Outcome.Kept():
			r.Kept++
		case o.doubtful():
			r.Doubtful++
		}
	})
	r.SoftDeleteUnknown = slices.ContainsFunc(c.Buckets, func(b Bucket) bool { return b.SoftDeleteUnknown })
	return r
}

// outOfReach are sentences about what certpurge cannot know.
func (c *Certificate) outOfReach() []string {
	all := []string{
		"Copies that were made of the files before: downloads, e-mails, backups of the bucket, transfers to other buckets.",
	}
	var caches []string
	c.each(func(_ Erasure, _ Directory, o Object) {
		if o.CacheControl != "" && !slices.Contains(caches, o.CacheControl) {
			caches = append(caches, o.CacheControl)
		}
	})
	for _, header := range caches {
		all = append(all, "Copies in caches, which may serve a file as long as it allowed: Cache-Control: "+header+".")
	}
	if len(caches) == 0 {
		all = append(all, "Copies in caches: the files had no Cache-Control of their own, so the service's default counts: "+
			"one hour, if they were public.")
	}
	external := 0
	for _, of := range c.Certificates {
		for _, l := range of.Links {
			if l.External {
				external++
			}
		}
	}
	if external > 0 {
		all = append(all, fmt.Sprintf("Files of other services: %s led to them, and nothing of them was touched.",
			english.Plural(external, "link", "")))
	}
	return append(all, "Files that were put there after the last listing, and what administrators of the bucket or the "+
		"ledger did outside of certpurge: the audit logs of the services say that.")
}
