package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/certpurge/certpurge/internal/evidence"
	"github.com/certpurge/certpurge/internal/purge"
)

// Audit is all that the ledger held about one user at one moment, compared with its own chains.
type Audit struct {
	Requests  []Request
	Timeline  []TimelineEntry
	Evidence  []EvidenceRecord
	Documents []evidence.Stored  // by request and number
	Anchors   map[int64]AnchorOf // of documents; those that are in none are left out
	Prunings  []Pruning
	Troubles  []evidence.Trouble // what of it is not as it was written

	upTo map[purge.RequestID]int
}

// Covers reports whether Timeline and Evidence are made from a document, too.
func (a *Audit) Covers(d evidence.Stored) bool { return a.upTo == nil || d.Number <= a.upTo[d.Request] }

// AnchorOf is the anchor that a document is in.
type AnchorOf struct {
	Anchor int64
	At     time.Time
	Hash   [32]byte
}

// Audit reads one user in one snapshot of the ledger, so that what is compared with the hashes is exactly what it
// returns. upTo, if it is not nil, is the number of the last document of each request from which Timeline and Evidence
// are made, as they were made when there were no more; Documents, Troubles and Anchors are about all.
func (s *Store) Audit(ctx context.Context, user purge.UserID, upTo map[purge.RequestID]int) (*Audit, error) {
	a := &Audit{Anchors: map[int64]AnchorOf{}, upTo: upTo}
	t, all := newTimeline(), evidenceByUser{}
	of := all.of(user)
	var q script
	q.add("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
	q.add("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
	q.add("SELECT * FROM requests WHERE user_id = ? ORDER BY id", user)
	const requests = " WHERE request_id IN (SELECT id FROM requests WHERE user_id = ?) ORDER BY "
	q.add("SELECT request_id, created_at, requested_by FROM request_keys"+requests+"created_at", user)
	q.add("SELECT request_id, at, kind, actor, ticket FROM events"+requests+"id", user)
	q.add("SELECT "+storedColumns+" FROM evidence_documents WHERE user_id = ? ORDER BY id", user)
	scanLegacy := addLegacy(&q, "user_id", []any{user}, all)
	q.add("COMMIT")
	err := s.run(ctx, &q, append([]func(*sql.Rows) error{
		func(rows *sql.Rows) error {
			r, err := s.scanRequest(rows)
			a.Requests = append(a.Requests, r)
			of.origins[r.ID] = origin{r.RequestedBy, r.Ticket}
			return err
		},
		t.scanKey, t.scanEvent,
		func(rows *sql.Rows) error {
			d, err := scanStored(rows)
			a.Documents = append(a.Documents, d)
			return err
		},
	}, scanLegacy...)...)
	if err != nil {
		return nil, classify("reading the ledger", err)
	}
	for _, d := range a.Documents {
		read, err := evidence.Decode(d.Text)
		if err != nil || !a.Covers(d) {
			continue // what cannot be read is a trouble
		}
		t.document(d.Request, d.ID, read)
		of.add(d.ID, read)
	}
	a.Timeline = t.entries(a.Requests)
	err = of.each(EvidenceFilter{}.covers, func(r EvidenceRecord) error {
		a.Evidence = append(a.Evidence, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return a, s.verifyAudit(ctx, a)
}

func (s *Store) scanRequest(rows *sql.Rows) (r Request, err error) {
	if err := s.gorm.ScanRows(rows, &r); err != nil {
		return r, err //nolint:wrapcheck // classified where it is read
	}
	return r, r.AfterFind(s.gorm)
}

// verifyAudit fills in what is not as it was written, and the anchors.
func (s *Store) verifyAudit(ctx context.Context, a *Audit) error {
	removed, err := s.readPruned(ctx)
	if err != nil {
		return err
	}
	a.Prunings = removed.runs
	if err := s.anchorAudit(ctx, a); err != nil {
		return classify("reading the anchors", err)
	}
	chains := map[purge.RequestID][]evidence.Stored{}
	for _, d := range a.Documents {
		chains[d.Request] = append(chains[d.Request], d)
	}
	var ids []purge.RequestID
	rows := map[purge.RequestID]storedRequest{}
	for _, r := range a.Requests {
		ids = append(ids, r.ID)
		rows[r.ID] = r.stored()
	}
	for id := range chains {
		if _, known := rows[id]; !known {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		slices.SortFunc(chains[id], func(x, y evidence.Stored) int { return x.Number - y.Number })
		if len(chains[id]) > 0 {
			a.Troubles = append(a.Troubles, checkRequest(id, rows[id], chains[id], removed)...)
		}
	}
	slices.SortFunc(a.Documents, func(x, y evidence.Stored) int {
		if x.Request != y.Request {
			return int(x.Request - y.Request)
		}
		return x.Number - y.Number
	})
	return nil
}

// stored is what the row says of the request that its documents say, too.
func (r Request) stored() storedRequest {
	return storedRequest{state: r.State, at: r.RequestedAt, Request: evidence.Request{
		ID: r.ID, UserID: r.UserID, CertificateID: r.CertificateID, Source: r.Source, RequestedBy: r.RequestedBy,
		Ticket: r.Ticket,
	}}
}

// anchorAudit finds the anchor of each document, and those that an anchor holds otherwise.
func (s *Store) anchorAudit(ctx context.Context, a *Audit) error {
	var anchor evidence.Anchor
	var at time.Time
	for _, d := range a.Documents { // in the order of their numbers in the ledger
		if d.ID > anchor.Last {
			found := evidence.Anchor{}
			err := each(ctx, s.sql, func(rows *sql.Rows) error {
				var hash []byte
				err := rows.Scan(&found.ID, &found.After, &found.Last, &hash, &found.Documents, &at)
				copy(found.Hash[:], hash)
				return err
			}, "SELECT "+anchorColumns+", at FROM anchors WHERE after_id < ? ORDER BY after_id DESC LIMIT 1", d.ID)
			if err != nil {
				return err
			}
			if found.Last < d.ID {
				break // neither this one nor any later one is anchored
			}
			anchor = found
		}
		a.Anchors[d.ID] = AnchorOf{Anchor: anchor.ID, At: at, Hash: anchor.Hash}
		if !anchor.Holds(evidence.Mark{ID: d.ID, Hash: d.Hash}) {
			a.Troubles = append(a.Troubles, evidence.Trouble{
				Request: d.Request, Document: d.ID, Anchor: anchor.ID,
				Text: fmt.Sprintf("document %d is not the one that anchor %d holds", d.ID, anchor.ID),
			})
		}
	}
	return nil
}
