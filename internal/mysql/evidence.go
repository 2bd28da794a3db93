package mysql

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/certpurge/certpurge/internal/evidence"
	"github.com/certpurge/certpurge/internal/purge"
)

// EvidenceRecord is one line of evidence: an object generation, or the clearing of a certificate's links.
type EvidenceRecord struct {
	ID                int64               `json:"-"`
	Kind              string              `json:"kind"` // object, links
	RequestID         purge.RequestID     `json:"request_id"`
	UserID            purge.UserID        `json:"user_id"`
	CertificateID     purge.CertificateID `json:"certificate_id"`
	SourceTable       purge.Table         `json:"source_table"`
	Attempt           int                 `json:"attempt"`
	Bucket            string              `json:"bucket,omitempty"`
	Name              string              `json:"object,omitempty"`
	Generation        int64               `json:"generation,omitempty"`
	Size              int64               `json:"size,omitempty"`
	CacheControl      string              `json:"cache_control,omitempty"`
	Outcome           purge.Outcome       `json:"outcome"`
	Until             *time.Time          `json:"until,omitempty"`
	AcceptedBy        string              `json:"accepted_by,omitempty"` // who accepted a doubt about the directory
	ReferencesCleared int                 `json:"references_cleared,omitempty"`
	ListedAt          *time.Time          `json:"listed_at,omitempty"`
	At                *time.Time          `json:"at"` // settled, or cleared; none for an intent that is not settled yet

	RequestedBy string             `json:"requested_by,omitempty"` // who made the request
	Ticket      string             `json:"ticket,omitempty"`
	Listings    []evidence.Listing `json:"listings,omitempty"`        // of the directory, in the attempt that settled it
	Settings    *evidence.Bucket   `json:"bucket_settings,omitempty"` // as they were read for that attempt
	Document    int64              `json:"-"`                         // the number of the document that settled it
	Directory   purge.Directory    `json:"-"`                         // of an object
}

// EvidenceFilter chooses evidence: of a user, of a period (from Since, before Until), or of both.
type EvidenceFilter struct {
	User         purge.UserID
	Since, Until time.Time
}

// EachEvidence calls do for every piece of evidence that the filter chooses, as it stands now: of each document the
// objects first, then the links. Only one page is in memory. Intents that are not settled appear for a user only.
func (s *Store) EachEvidence(ctx context.Context, f EvidenceFilter, do func(EvidenceRecord) error) error {
	if f.User != 0 {
		return s.eachOfUser(ctx, f, do)
	}
	for last, more := (documentKey{At: f.Since}), true; more; {
		page, err := s.documentPage(ctx, f, last)
		if err != nil {
			return err
		}
		if more = len(page) == documentsPage; len(page) > 0 {
			last = page[len(page)-1]
		}
		if err := s.eachOfPage(ctx, page, do); err != nil {
			return err
		}
	}
	return s.eachLegacy(ctx, f, do)
}

func (s *Store) eachOfUser(ctx context.Context, f EvidenceFilter, do func(EvidenceRecord) error) error {
	all := evidenceByUser{}
	if err := s.readEvidence(ctx, "user_id", []any{f.User}, all); err != nil {
		return err
	}
	if all[f.User] == nil {
		return nil
	}
	return all[f.User].each(f.covers, do)
}

// covers reports whether a moment lies in the filter's period; what has no moment yet does if there is no period.
func (f EvidenceFilter) covers(at time.Time, _ int64) bool {
	return (f.Since.IsZero() || !at.Before(f.Since)) && (f.Until.IsZero() || !at.IsZero() && at.Before(f.Until))
}

// userEvidence is all evidence of one user, or of one request about orphans, with what its documents say about the
// proof.
type userEvidence struct {
	evidence.History

	origins map[purge.RequestID]origin
	proofs  map[attemptOf]*proof
	sources map[int64]attemptOf // of documents
}

// origin is who made a request.
type origin struct{ by, ticket string }

type attemptOf struct {
	request purge.RequestID
	attempt int
}

// proof is what the records of one attempt, which may be several documents, say about directories and buckets.
type proof struct {
	listings map[purge.Directory][]evidence.Listing
	buckets  map[string]*evidence.Bucket
}

func (t *userEvidence) add(id int64, d *evidence.Document) {
	t.Add(id, d)
	if d.Part != evidence.Record {
		return
	}
	key := attemptOf{d.Request.ID, d.Attempt}
	p := t.proofs[key]
	if p == nil {
		p = &proof{map[purge.Directory][]evidence.Listing{}, map[string]*evidence.Bucket{}}
		t.proofs[key] = p
	}
	t.sources[id] = key
	for _, dir := range d.Directories {
		name := purge.Directory{Bucket: dir.Bucket, Prefix: dir.Prefix}
		p.listings[name] = append(p.listings[name], dir.Listings...)
	}
	for _, b := range d.Buckets {
		p.buckets[b.Name] = &b
	}
}

// evidenceByUser is the evidence of users; of requests about orphans under user 0.
type evidenceByUser map[purge.UserID]*userEvidence

func (l evidenceByUser) of(user purge.UserID) *userEvidence {
	if l[user] == nil {
		l[user] = &userEvidence{
			origins: map[purge.RequestID]origin{}, proofs: map[attemptOf]*proof{}, sources: map[int64]attemptOf{},
		}
	}
	return l[user]
}

func (l evidenceByUser) history(user purge.UserID) *evidence.History { return &l.of(user).History }

func (l evidenceByUser) add(user purge.UserID, id int64, d *evidence.Document) { l.of(user).add(id, d) }

// readEvidence reads all evidence of users, or of requests, by the values of a column. Rows of earlier versions come
// first.
func (s *Store) readEvidence(ctx context.Context, column string, which []any, all evidenceByUser) error {
	var q script
	scans := addHistory(&q, column, which, all)
	key := column
	if key == "request_id" {
		key = "id"
	}
	q.add("SELECT user_id, id, requested_by, ticket FROM requests WHERE "+key+" IN ("+tuples("?", len(which))+")",
		which...)
	err := s.run(ctx, &q, append(scans, func(rows *sql.Rows) error {
		var user purge.UserID
		var request purge.RequestID
		var o origin
		err := rows.Scan(&user, &request, &o.by, &o.ticket)
		if all[user] != nil {
			all[user].origins[request] = o
		}
		return err
	})...)
	return classify("reading evidence", err)
}

// each calls do for the evidence of chosen moments and documents.
func (t *userEvidence) each(chosen func(at time.Time, document int64) bool, do func(EvidenceRecord) error) error {
	for _, r := range t.Rows() {
		if chosen(r.SettledAt, r.Document) {
			if err := do(t.complete(objectRecord(r), r.Directory)); err != nil {
				return err
			}
		}
	}
	for _, c := range t.Clearings() {
		if chosen(c.At, c.Document) {
			if err := do(t.complete(linksRecord(c), purge.Directory{})); err != nil {
				return err
			}
		}
	}
	return nil
}

// complete adds who made the request, and the proof in the records of the attempt that settled it.
func (t *userEvidence) complete(r EvidenceRecord, dir purge.Directory) EvidenceRecord {
	o := t.origins[r.RequestID]
	r.RequestedBy, r.Ticket = o.by, o.ticket
	if p := t.proofs[t.sources[r.Document]]; p != nil && dir.Bucket != "" {
		r.Listings, r.Settings = p.listings[dir], p.buckets[dir.Bucket]
	}
	return r
}

func objectRecord(r *evidence.Row) EvidenceRecord {
	return EvidenceRecord{
		Kind: "object", RequestID: r.Request, UserID: r.User, CertificateID: r.Certificate, SourceTable: r.Table,
		Attempt: r.Attempt, Directory: r.Directory, Bucket: r.Directory.Bucket, Name: r.Name,
		Generation: r.Generation, Size: r.Size, CacheControl: r.CacheControl, Outcome: r.Outcome, Until: known(r.Until),
		AcceptedBy: r.AcceptedBy,
		ListedAt:   known(r.ListedAt), At: known(r.SettledAt), Document: r.Document,
	}
}

func linksRecord(c *evidence.Clearing) EvidenceRecord {
	return EvidenceRecord{
		Kind: "links", RequestID: c.Request, UserID: c.User, CertificateID: c.Certificate, SourceTable: c.Table,
		Attempt: c.Attempt, Outcome: "cleared", ReferencesCleared: c.References, At: known(c.At),
		Document: c.Document,
	}
}

func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// documentsPage is how many documents are read at a time.
const documentsPage = 500

// documentKey is where a document stands in the order of their times.
type documentKey struct {
	At      time.Time
	ID      int64
	User    purge.UserID
	Request purge.RequestID
}

// documentPage reads which records come next in a period.
func (s *Store) documentPage(ctx context.Context, f EvidenceFilter, after documentKey) (page []documentKey, err error) {
	until, args := "", []any{after.At.UTC(), after.At.UTC(), after.ID}
	if !f.Until.IsZero() {
		until, args = " AND at < ?", append(args, f.Until.UTC())
	}
	// Without the hint, the server sorts the whole period for each page.
	err = s.read(ctx, "reading evidence", &page, "SELECT at, id, user_id AS user, request_id AS request"+
		" FROM evidence_documents FORCE INDEX (evidence_documents_at)"+
		" WHERE at >= ? AND (at > ? OR id > ?)"+until+" AND part = 'record' ORDER BY at, id LIMIT ?",
		append(args, documentsPage)...)
	return page, err
}

// eachOfPage calls do for what the documents of a page have settled and no later one has settled again.
func (s *Store) eachOfPage(ctx context.Context, page []documentKey, do func(EvidenceRecord) error) error {
	users, orphans := map[purge.UserID][]int64{}, map[purge.RequestID][]int64{}
	var order []documentKey // one for each user, or request about orphans
	for _, k := range page {
		switch {
		case k.User == 0 && orphans[k.Request] == nil, k.User != 0 && users[k.User] == nil:
			order = append(order, k)
		}
		if k.User == 0 {
			orphans[k.Request] = append(orphans[k.Request], k.ID)
		} else {
			users[k.User] = append(users[k.User], k.ID)
		}
	}
	for some := range slices.Chunk(order, rowsPerStatement) {
		all := evidenceByUser{}
		var ids []any
		for _, k := range some {
			if k.User != 0 {
				ids = append(ids, k.User)
			}
		}
		if len(ids) > 0 {
			if err := s.readEvidence(ctx, "user_id", ids, all); err != nil {
				return err
			}
		}
		for _, k := range some {
			t, documents := all.of(k.User), users[k.User]
			if k.User == 0 { // the evidence of all orphans is not one thing
				of := evidenceByUser{}
				if err := s.readEvidence(ctx, "request_id", []any{k.Request}, of); err != nil {
					return err
				}
				t, documents = of.of(0), orphans[k.Request]
			}
			chosen := func(_ time.Time, document int64) bool { return slices.Contains(documents, document) }
			if err := t.each(chosen, do); err != nil {
				return err
			}
		}
	}
	return nil
}

// eachLegacy calls do for what earlier versions have written in a period. The documents that hold it, too, are of the
// day of the migration.
func (s *Store) eachLegacy(ctx context.Context, f EvidenceFilter, do func(EvidenceRecord) error) error {
	for _, t := range []struct {
		columns, table, at, index string
		scan                      func(*sql.Rows) (EvidenceRecord, error)
	}{
		{
			legacyObjects, "evidence_objects", "settled_at", "evidence_objects_settled",
			func(rows *sql.Rows) (EvidenceRecord, error) {
				id, row, err := scanLegacyObject(rows)
				record := objectRecord(&row)
				record.ID = id
				return record, err
			},
		},
		{legacyLinks, "evidence", "cleared_at", "evidence_cleared", func(rows *sql.Rows) (EvidenceRecord, error) {
			id, c, err := scanLegacyLinks(rows)
			record := linksRecord(&c)
			record.ID = id
			return record, err
		}},
	} {
		last, since := int64(0), f.Since
		for n := acceptBatch; n == acceptBatch; {
			n = 0
			until, args := "", []any{since.UTC(), since.UTC(), last}
			if !f.Until.IsZero() {
				until, args = " AND "+t.at+" < ?", append(args, f.Until.UTC())
			}
			var page []EvidenceRecord
			// Left to itself, the server sorts the whole period for each page, or reads all that is older.
			err := each(ctx, s.sql, func(rows *sql.Rows) error {
				record, err := t.scan(rows)
				page = append(page, record)
				return err
			}, "SELECT "+t.columns+" FROM "+t.table+" FORCE INDEX ("+t.index+") WHERE "+t.at+" >= ? AND ("+t.at+
				" > ? OR id > ?)"+until+" ORDER BY "+t.at+", id LIMIT ?", append(args, acceptBatch)...)
			if err != nil {
				return classify("reading evidence", err)
			}
			if err := s.addOrigins(ctx, page); err != nil {
				return err
			}
			for _, record := range page {
				if err := do(record); err != nil {
					return err
				}
				last, since = record.ID, *record.At
				n++
			}
		}
	}
	return nil
}

// addOrigins adds who made the requests.
func (s *Store) addOrigins(ctx context.Context, page []EvidenceRecord) error {
	if len(page) == 0 {
		return nil
	}
	ids := make([]purge.RequestID, len(page))
	for i, r := range page {
		ids[i] = r.RequestID
	}
	var rows []Request
	err := s.read(ctx, "reading requests", &rows, "SELECT id, requested_by, ticket FROM requests WHERE id IN ?", ids)
	of := make(map[purge.RequestID]Request, len(rows))
	for _, r := range rows {
		of[r.ID] = r
	}
	for i := range page {
		page[i].RequestedBy, page[i].Ticket = of[page[i].RequestID].RequestedBy, of[page[i].RequestID].Ticket
	}
	return err
}

// LedgerDocument is a document as the ledger holds it.
type LedgerDocument struct {
	ID      int64
	Request purge.RequestID
	Number  int // of the request's documents, from 1
	Hash    [sha256.Size]byte
	Text    []byte // canonical JSON
}

// EachDocument calls do for every document about a user, by request and number.
func (s *Store) EachDocument(ctx context.Context, user purge.UserID, do func(LedgerDocument) error) error {
	var failed error
	err := each(ctx, s.sql, func(rows *sql.Rows) error {
		var d LedgerDocument
		var hash []byte
		if err := rows.Scan(&d.ID, &d.Request, &d.Number, &hash, &d.Text); err != nil {
			return err
		}
		copy(d.Hash[:], hash)
		failed = do(d)
		return failed
	}, "SELECT id, request_id, number, hash, document FROM evidence_documents WHERE user_id = ?"+
		" ORDER BY request_id, number", user)
	if failed != nil {
		return failed
	}
	return classify("reading evidence", err)
}

// latestDocuments is how many documents, and latestRows how many rows of earlier versions, ErasedBelow reads.
const (
	latestDocuments = 2_000
	latestRows      = 10_000
)

// ErasedBelow reports whether the latest evidence shows that objects were erased below a directory, for any user.
func (s *Store) ErasedBelow(ctx context.Context, dir purge.Directory) (bool, error) {
	found := false
	below := func(r *evidence.Row) bool { // an id of 32 digits and a slash
		return r.Outcome == purge.Erased && r.Directory.Bucket == dir.Bucket &&
			strings.HasPrefix(r.Directory.Prefix, dir.Prefix) && len(r.Directory.Prefix) == len(dir.Prefix)+33
	}
	err := each(ctx, s.sql, func(rows *sql.Rows) error {
		var text []byte
		if err := rows.Scan(&text); err != nil || found {
			return err
		}
		d, err := evidence.Decode(text)
		if err != nil {
			return err
		}
		var h evidence.History
		h.Add(0, d)
		found = slices.ContainsFunc(h.Rows(), below)
		return nil
	}, "SELECT document FROM evidence_documents WHERE part <> 'intents' ORDER BY id DESC LIMIT ?", latestDocuments)
	if err != nil || found {
		return found, classify("reading what was erased", err)
	}
	err = each(ctx, s.sql, func(rows *sql.Rows) error {
		_, row, err := scanLegacyObject(rows)
		found = found || below(&row)
		return err
	}, "SELECT "+legacyObjects+" FROM evidence_objects ORDER BY id DESC LIMIT ?", latestRows)
	return found, classify("reading what was erased", err)
}
