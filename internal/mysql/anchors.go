package mysql

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/certpurge/certpurge/internal/evidence"
	"github.com/certpurge/certpurge/internal/purge"
)

// anchorSize is how many documents one anchor holds at most.
const anchorSize = 100_000

// LastDocument is the number of the latest document; 0 if there is none.
func (s *Store) LastDocument(ctx context.Context) (last int64, err error) {
	err = s.read(ctx, "reading the evidence", &last, "SELECT COALESCE(MAX(id), 0) FROM evidence_documents")
	return last, err
}

// Anchored is an anchor that was made.
type Anchored struct {
	Anchor    int64
	Documents int
	Last      int64
	Hash      [sha256.Size]byte
}

// AddAnchor anchors the documents up to a number that are not anchored yet, 100,000 at most; nothing is made if there
// are none. The number must have been read a while ago, so that every document below it has been written: numbers are
// given when a statement begins. It waits for transactions that have written some of them and are not at their end. If
// another process makes the same anchor, its own is not made.
func (s *Store) AddAnchor(ctx context.Context, upTo int64) (made Anchored, err error) {
	const what = "anchoring the evidence"
	err = s.onConnection(ctx, func(conn *sql.Conn) error {
		var before evidence.Anchor
		err := each(ctx, conn, func(rows *sql.Rows) (err error) { before, err = scanAnchor(rows); return err },
			"SELECT "+anchorColumns+" FROM anchors ORDER BY id DESC LIMIT 1")
		if err != nil {
			return err
		}
		marks, err := readMarks(ctx, conn, before.Last, upTo, anchorSize, " LOCK IN SHARE MODE")
		if err != nil || len(marks) == 0 {
			return err
		}
		a := evidence.NewAnchor(before, marks)
		result, err := conn.ExecContext(ctx, "INSERT INTO anchors (at, after_id, last_id, hash, documents) VALUES "+
			"(?, ?, ?, ?, ?)", s.now(), a.After, a.Last, a.Hash[:], a.Documents)
		if isDuplicate(err) {
			return nil // another process was faster
		}
		if err != nil {
			return err
		}
		made = Anchored{Documents: len(marks), Last: a.Last, Hash: a.Hash}
		made.Anchor, err = result.LastInsertId()
		return err
	})
	return made, classify(what, err)
}

// UnanchoredSince is when the oldest document was written that is in no anchor; zero if there is none.
func (s *Store) UnanchoredSince(ctx context.Context) (since time.Time, err error) {
	err = s.read(ctx, "reading the evidence", &since, "SELECT at FROM evidence_documents"+
		" WHERE id > (SELECT COALESCE(MAX(last_id), 0) FROM anchors) ORDER BY id LIMIT 1")
	return since, err
}

// LastAnchored is when the latest anchor was made; zero if none was.
func (s *Store) LastAnchored(ctx context.Context) (at time.Time, err error) {
	err = s.read(ctx, "reading the anchors", &at, "SELECT at FROM anchors ORDER BY id DESC LIMIT 1")
	return at, err
}

const anchorColumns = "id, after_id, last_id, hash, documents"

func scanAnchor(rows *sql.Rows) (a evidence.Anchor, err error) {
	var hash []byte
	err = rows.Scan(&a.ID, &a.After, &a.Last, &hash, &a.Documents)
	copy(a.Hash[:], hash)
	return a, err
}

func readMarks(ctx context.Context, on querier, after, upTo int64, limit int, lock string) (
	marks []evidence.Mark, err error,
) {
	err = each(ctx, on, func(rows *sql.Rows) error {
		var m evidence.Mark
		var hash []byte
		err := rows.Scan(&m.ID, &hash)
		copy(m.Hash[:], hash)
		marks = append(marks, m)
		return err
	}, "SELECT id, hash FROM evidence_documents WHERE id > ? AND id <= ? ORDER BY id LIMIT ?"+lock, after, upTo, limit)
	return marks, err
}

// Verified is what Verify has read.
type Verified struct {
	Requests   int   `json:"requests"`
	Documents  int   `json:"documents"`
	Anchors    int   `json:"anchors"`
	Unanchored int   `json:"unanchored"` // documents that are newer than the latest anchor
	LastAnchor int64 `json:"last_anchor,omitempty"`
	PrunedUpTo int64 `json:"pruned_up_to,omitempty"` // the last document that was removed by Prune

	UnanchoredSince *time.Time `json:"unanchored_since,omitempty"` // when the oldest of these was written
	Prunings        []Pruning  `json:"prunings,omitempty"`
}

// verifyPage is how many requests are verified at a time.
const verifyPage = 200

// Verify walks through all evidence: every document against its hash and the one before it, the ends and figures of
// requests against their documents, and all documents against the anchors. trouble is called for whatever is not as it
// was written. anchor is the hash of an anchor that must be there, as a worker logged it; nil for none.
func (s *Store) Verify(ctx context.Context, anchor []byte, trouble func(evidence.Trouble) error) (Verified, error) {
	var v Verified
	removed, err := s.readPruned(ctx)
	if err != nil {
		return v, err
	}
	v.PrunedUpTo, v.Prunings = removed.last, removed.runs
	for _, t := range removed.odd {
		if err := trouble(t); err != nil {
			return v, err
		}
	}
	for last := purge.RequestID(0); ; {
		ids, err := s.requestsWithEvidence(ctx, "WHERE request_id > ? ORDER BY request_id LIMIT ?", last, verifyPage)
		if err != nil {
			return v, err
		}
		if len(ids) == 0 {
			break
		}
		last = ids[len(ids)-1]
		if err := s.verifyRequests(ctx, &v, ids, removed, trouble); err != nil {
			return v, err
		}
	}
	if err := s.verifyFigures(ctx, removed, trouble); err != nil {
		return v, err
	}
	return v, s.verifyAnchors(ctx, &v, anchor, removed, 0, trouble)
}

// latestVerified is how many of the latest documents say which requests VerifyLatest looks at.
const latestVerified = 20_000

// latestAnchors is how many of the latest anchors VerifyLatest looks at.
const latestAnchors = 3

// VerifyLatest does what Verify does for the requests of the latest 20,000 documents and the latest anchors.
func (s *Store) VerifyLatest(ctx context.Context, trouble func(evidence.Trouble) error) (v Verified, err error) {
	last, err := s.LastDocument(ctx)
	if err != nil {
		return v, err
	}
	ids, err := s.requestsWithEvidence(ctx, "WHERE id > ?", last-latestVerified)
	if err != nil {
		return v, err
	}
	removed, err := s.readPruned(ctx)
	if err != nil {
		return v, err
	}
	if err := s.verifyRequests(ctx, &v, ids, removed, trouble); err != nil {
		return v, err
	}
	return v, s.verifyAnchors(ctx, &v, nil, removed, latestAnchors, trouble)
}

// requestsWithEvidence selects requests that have documents.
func (s *Store) requestsWithEvidence(ctx context.Context, which string, args ...any) (
	ids []purge.RequestID, err error,
) {
	err = s.read(ctx, "reading the evidence", &ids, "SELECT DISTINCT request_id FROM evidence_documents "+which, args...)
	return ids, err
}

func (s *Store) verifyRequests(ctx context.Context, v *Verified, ids []purge.RequestID, removed pruned,
	trouble func(evidence.Trouble) error,
) error {
	for page := range slices.Chunk(ids, verifyPage) {
		n, err := s.verifyChains(ctx, page, removed, trouble)
		if err != nil {
			return err
		}
		v.Requests, v.Documents = v.Requests+len(page), v.Documents+n
	}
	return nil
}

// verifyChains verifies the documents of requests, and that there is a record of the end of each that has ended. Which
// have ended is read first: the record of an end is there as soon as the end is.
func (s *Store) verifyChains(ctx context.Context, ids []purge.RequestID, removed pruned,
	trouble func(evidence.Trouble) error,
) (n int, err error) {
	stored := map[purge.RequestID]storedRequest{}
	err = each(ctx, s.sql, func(rows *sql.Rows) error {
		var r storedRequest
		err := rows.Scan(&r.ID, &r.state, &r.UserID, &r.CertificateID, &r.Source, &r.RequestedBy, &r.at, &r.Ticket)
		stored[r.ID] = r
		return err
	}, "SELECT id, state, user_id, certificate_id, source, requested_by, requested_at, ticket FROM requests WHERE id IN ("+
		tuples("?", len(ids))+")", anys(ids)...)
	if err != nil {
		return n, classify("reading requests", err)
	}
	chains := map[purge.RequestID][]evidence.Stored{}
	err = each(ctx, s.sql, func(rows *sql.Rows) error {
		d, err := scanStored(rows)
		chains[d.Request] = append(chains[d.Request], d)
		n++
		return err
	}, "SELECT "+storedColumns+" FROM evidence_documents"+
		" WHERE request_id IN ("+tuples("?", len(ids))+") ORDER BY request_id, number", anys(ids)...)
	if err != nil {
		return n, classify("reading the evidence", err)
	}
	for _, id := range ids {
		for _, t := range checkRequest(id, stored[id], chains[id], removed) {
			if err := trouble(t); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

const storedColumns = "id, request_id, number, user_id, attempt, part, at, hash, document"

func scanStored(rows *sql.Rows) (d evidence.Stored, err error) {
	var hash []byte
	err = rows.Scan(&d.ID, &d.Request, &d.Number, &d.User, &d.Attempt, &d.Part, &d.At, &hash, &d.Text)
	copy(d.Hash[:], hash)
	return d, err
}

// checkRequest compares the documents of a request with their chain and with the request's row.
func checkRequest(id purge.RequestID, r storedRequest, chain []evidence.Stored, removed pruned) []evidence.Trouble {
	troubles := evidence.CheckChain(chain, removed.explains(chain))
	troubles = append(troubles, r.compare(id, chain)...)
	if r.state.Ended() && !slices.ContainsFunc(chain, func(d evidence.Stored) bool { return recordsEnd(d, r.state) }) {
		troubles = append(troubles, evidence.Trouble{Request: id, Text: fmt.Sprintf(
			"request %d is %s, but the record of that is missing", id, r.state)})
	}
	return troubles
}

// storedRequest is what the ledger's row says of a request, and its documents say, too.
type storedRequest struct {
	evidence.Request

	state purge.State
	at    time.Time
}

// compare finds documents that say something else about their request than its row does.
func (r storedRequest) compare(id purge.RequestID, chain []evidence.Stored) (troubles []evidence.Trouble) {
	if r.ID == 0 {
		return []evidence.Trouble{{Request: id, Text: fmt.Sprintf("request %d is missing, but there is evidence of it", id)}}
	}
	for _, stored := range chain {
		d, err := evidence.Decode(stored.Text)
		if err != nil || d.Request.ID != id {
			continue // said elsewhere
		}
		own := d.Request
		var at time.Time
		if own.RequestedAt != nil {
			at = *own.RequestedAt
		}
		own.RequestedAt, own.ReopenedBy = nil, ""
		if own != r.Request || !at.Equal(r.at.UTC()) {
			return []evidence.Trouble{{Request: id, Document: stored.ID, Text: fmt.Sprintf("request %d is not what document %d "+
				"of it says of user, source, who asked, when and with which ticket", id, stored.Number)}}
		}
	}
	return nil
}

// recordsEnd reports whether a document says that an attempt left its request in a state, or may say so for an earlier
// version.
func recordsEnd(stored evidence.Stored, state purge.State) bool {
	d, err := evidence.Decode(stored.Text)
	return err == nil && (d.Part == evidence.Migrated || d.Part == evidence.Record && d.State == state)
}

// verifyRange is how many ids of requests are looked through at a time.
const verifyRange = 10_000

// verifyFigures finds requests whose figures say that something was erased or cleared, and of which there is no
// evidence at all, in documents or in the rows of earlier versions.
func (s *Store) verifyFigures(ctx context.Context, removed pruned, trouble func(evidence.Trouble) error) error {
	last, err := s.lastRequest(ctx)
	if err != nil {
		return err
	}
	for from := int64(0); from < last; from += verifyRange {
		var rows []Request
		err := s.read(ctx, "reading requests", &rows, "SELECT id, objects_erased, references_cleared FROM requests r"+
			" WHERE id > ? AND id <= ?"+
			" AND (objects_erased > 0 OR references_cleared > 0) AND (finished_at IS NULL OR finished_at >= ?)"+
			" AND NOT EXISTS (SELECT 1 FROM evidence_documents e WHERE e.request_id = r.id)"+
			" AND NOT EXISTS (SELECT 1 FROM evidence_objects e WHERE e.request_id = r.id)"+
			" AND NOT EXISTS (SELECT 1 FROM evidence e WHERE e.request_id = r.id) ORDER BY id", from, from+verifyRange,
			removed.before)
		if err != nil {
			return err
		}
		for _, r := range rows {
			err := trouble(evidence.Trouble{Request: r.ID, Text: fmt.Sprintf("request %d has erased %d objects "+
				"and cleared %d references, but all of its evidence is missing", r.ID, r.ObjectsErased, r.ReferencesCleared)})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// verifyAnchors compares all anchors with the documents, or the latest few, with the one before them.
func (s *Store) verifyAnchors(ctx context.Context, v *Verified, want []byte, removed pruned, latest int,
	trouble func(evidence.Trouble) error,
) error {
	var before evidence.Anchor
	if latest > 0 {
		err := each(ctx, s.sql, func(rows *sql.Rows) (err error) { before, err = scanAnchor(rows); return err },
			"SELECT "+anchorColumns+" FROM anchors ORDER BY id DESC LIMIT 1 OFFSET ?", latest)
		if err != nil {
			return classify("reading the anchors", err)
		}
	}
	found := len(want) == 0
	for {
		var a evidence.Anchor
		err := each(ctx, s.sql, func(rows *sql.Rows) (err error) { a, err = scanAnchor(rows); return err },
			"SELECT "+anchorColumns+" FROM anchors WHERE id > ? ORDER BY id LIMIT 1", before.ID)
		if err != nil {
			return classify("reading the anchors", err)
		}
		if a.ID == 0 {
			break
		}
		found = found || string(want) == string(a.Hash[:])
		v.Anchors++
		if a.ID <= removed.anchor && a.After == before.Last { // its documents are gone
			before = a
			continue
		}
		present, err := readMarks(ctx, s.sql, a.After, a.Last, 10*anchorSize, "")
		if err != nil {
			return classify("reading the evidence", err)
		}
		for _, t := range evidence.CheckAnchor(before, a, present) {
			if err := trouble(t); err != nil {
				return err
			}
		}
		before = a
	}
	v.LastAnchor = before.ID
	var newer struct {
		Count int
		Since *time.Time
	}
	err := s.read(ctx, "reading the evidence", &newer, "SELECT COUNT(*) AS count, MIN(at) AS since"+
		" FROM evidence_documents WHERE id > ?", before.Last)
	if err != nil {
		return err
	}
	v.Unanchored, v.UnanchoredSince = newer.Count, newer.Since
	if !found {
		return trouble(evidence.Trouble{Text: fmt.Sprintf("there is no anchor %x: the tables are older than it, or were "+
			"changed", want)})
	}
	return nil
}
