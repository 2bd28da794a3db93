package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/certpurge/certpurge/internal/evidence"
	"github.com/certpurge/certpurge/internal/purge"
)

// Detail is what the ledger holds about one request, as much as a page can show.
type Detail struct {
	Timeline []TimelineEntry
	Evidence []EvidenceRecord
	// Whole is false if there is more: documents, events or keys that are older than what was read.
	Whole bool
}

// Bounds of a Detail. A document has up to a few hundred kilobytes, so few are read at a time.
const (
	detailDocuments = 200
	detailBytes     = 4 << 20
	detailChunk     = 8
	detailEvents    = 500
)

// Detail reads timeline and evidence of one request from its newest documents. Rows of versions before ledger version 7
// are in it once they have become documents.
func (s *Store) Detail(ctx context.Context, r Request) (Detail, error) {
	d := Detail{Whole: true}
	base, err := s.happened(ctx, r, &d)
	if err != nil {
		return d, classify("reading the timeline", err)
	}
	documents, err := s.newestDocuments(ctx, r.ID, &d)
	if err != nil {
		return d, classify("reading evidence", err)
	}
	found, made := evidenceByUser{}.of(r.UserID), newAttempts()
	for _, stored := range documents {
		document, err := evidence.Decode(stored.Text)
		if err != nil {
			return d, fmt.Errorf("document %d: %w", stored.ID, err)
		}
		found.add(stored.ID, document)
		made.add(stored.ID, document)
	}
	d.Timeline = timelineOfOne(r, base, made)
	err = found.each(EvidenceFilter{}.covers, func(e EvidenceRecord) error {
		d.Evidence = append(d.Evidence, e)
		return nil
	})
	return d, err
}

// happened reads what callers and operators did to a request, beside making it.
func (s *Store) happened(ctx context.Context, r Request, d *Detail) (entries []TimelineEntry, err error) {
	for _, part := range []struct {
		query string
		scan  func(*sql.Rows, *TimelineEntry) error
	}{
		{
			"SELECT created_at, requested_by FROM request_keys WHERE request_id = ? ORDER BY created_at DESC LIMIT ?",
			func(rows *sql.Rows, e *TimelineEntry) error {
				e.Kind = TimelineKey
				return rows.Scan(&e.At, &e.Actor)
			},
		},
		{
			"SELECT at, kind, actor, ticket FROM events WHERE request_id = ? ORDER BY id DESC LIMIT ?",
			func(rows *sql.Rows, e *TimelineEntry) error { return rows.Scan(&e.At, &e.Kind, &e.Actor, &e.Ticket) },
		},
	} {
		begin := len(entries)
		err = each(ctx, s.sql, func(rows *sql.Rows) error {
			e := TimelineEntry{Request: r.ID}
			err := part.scan(rows, &e)
			entries = append(entries, e)
			return err
		}, part.query, r.ID, detailEvents)
		if err != nil {
			return nil, err
		}
		slices.Reverse(entries[begin:]) // several have the same time
		d.Whole = d.Whole && len(entries)-begin < detailEvents
	}
	return entries, nil
}

// newestDocuments reads the newest documents of a request, and returns them in their order.
func (s *Store) newestDocuments(ctx context.Context, id purge.RequestID, d *Detail) (all []LedgerDocument, err error) {
	for size, n := 0, detailChunk; n == detailChunk; {
		if len(all) >= detailDocuments || size >= detailBytes {
			d.Whole = false
			break
		}
		before := 1 << 30
		if len(all) > 0 {
			before = all[len(all)-1].Number
		}
		n = 0
		err := each(ctx, s.sql, func(rows *sql.Rows) error {
			var found LedgerDocument
			err := rows.Scan(&found.ID, &found.Number, &found.Text)
			all = append(all, found)
			size += len(found.Text)
			n++
			return err
		}, "SELECT id, number, document FROM evidence_documents WHERE request_id = ? AND number < ?"+
			" ORDER BY number DESC LIMIT ?", id, before, detailChunk)
		if err != nil {
			return nil, err
		}
	}
	slices.Reverse(all)
	return all, nil
}
