package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/certpurge/certpurge/internal/evidence"
)

// Pruned is old evidence that was removed, or would be.
type Pruned struct {
	Documents int64 `json:"documents"`
	Events    int64 `json:"events"`
	Rows      int64 `json:"rows"` // of earlier versions
}

// ended is true for the requests of a row that no worker will touch again by itself.
const ended = "EXISTS (SELECT 1 FROM requests r WHERE r.id = request_id AND r.state IN ('done', 'refused', 'failed'))"

// Prune removes evidence that was written before a moment, with the rights of the account that migrates; without
// execute it only counts it. Whole anchors go, so what was written since the last one before that moment stays; and
// so does all evidence of requests that are open, because it says what their earlier attempts have deleted. The
// requests stay, with who asked and their figures. The actor, and what was removed, are written down first, for
// Verify.
func (s *Store) Prune(ctx context.Context, before time.Time, actor string, execute bool) (pruned Pruned, err error) {
	const what = "removing old evidence"
	db := sql.OpenDB(s.migrating)
	defer func() { err = errors.Join(err, db.Close()) }()
	if s.now().Sub(before) < MinKept {
		return pruned, fmt.Errorf("evidence is kept for at least %v", MinKept)
	}
	before = before.UTC()
	var anchor, last int64
	err = each(ctx, db, func(rows *sql.Rows) error { return rows.Scan(&anchor, &last) },
		"SELECT id, last_id FROM anchors WHERE at < ? ORDER BY id DESC LIMIT 1", before)
	if err != nil {
		return pruned, classify(what, err)
	}
	if execute {
		_, err := db.ExecContext(ctx, "INSERT INTO prunings (at, written_before, anchor_id, last_id, actor) VALUES "+
			"(?, ?, ?, ?, ?)", s.now(), before, anchor, last, cut(actor, 160))
		if err != nil {
			return pruned, classify(what, err)
		}
	}
	for _, t := range []struct {
		count            *int64
		table, condition string
		arg              any
	}{
		{&pruned.Documents, "evidence_documents", "id <= ?", last},
		{&pruned.Events, "events", "at < ?", before},
		{&pruned.Rows, "evidence_objects", "settled_at < ?", before},
		{&pruned.Rows, "evidence", "cleared_at < ?", before},
	} {
		t.condition += " AND " + ended
		if !execute {
			var n int64
			text := "SELECT COUNT(*) FROM " + t.table + " WHERE " + t.condition
			err := db.QueryRowContext(ctx, text, t.arg).Scan(&n)
			if err != nil {
				return pruned, classify(what, err)
			}
			*t.count += n
			continue
		}
		n, err := inBatches(ctx, db, what, "DELETE FROM "+t.table+" WHERE "+t.condition+" LIMIT ?", t.arg)
		*t.count += n
		if err != nil {
			return pruned, err
		}
	}
	return pruned, nil
}

// pruneBatch is how many rows one statement of inBatches changes: larger ones hold their locks longer.
const pruneBatch = 1_000

// inBatches repeats a statement whose last argument is a LIMIT until it finds nothing more, and counts the rows.
func inBatches(ctx context.Context, db *sql.DB, what, statement string, args ...any) (all int64, err error) {
	for n := int64(pruneBatch); n == pruneBatch; all += n {
		result, err := db.ExecContext(ctx, statement, append(slices.Clone(args), pruneBatch)...)
		if err != nil {
			return all, classify(what, err)
		}
		if n, err = result.RowsAffected(); err != nil {
			return all, classify(what, err)
		}
	}
	return all, nil
}

// Pruning is one run of Prune.
type Pruning struct {
	At     time.Time `json:"at"`
	Before time.Time `json:"written_before"`
	By     string    `json:"by"`
}

// pruned is what Prune has removed so far.
type pruned struct {
	before time.Time // 1970 if nothing ever was
	anchor int64     // the last whose documents are gone
	last   int64     // document
	runs   []Pruning
	odd    []evidence.Trouble // about entries that Prune does not write
}

// MinKept is for how long evidence is kept at least: a mistyped age must not remove all of it.
const MinKept = 30 * 24 * time.Hour

// readPruned reads what has been removed. An entry that Prune cannot have written hides nothing: one of younger
// evidence, or whose anchor is younger.
func (s *Store) readPruned(ctx context.Context) (p pruned, err error) {
	p.before = time.Unix(0, 0).UTC()
	var runs []struct {
		Pruning

		ID, Anchor, Last int64
		AnchoredAt       *time.Time // nil if there is no such anchor
		AnchoredLast     int64
	}
	err = s.read(ctx, "reading what was removed", &runs, "SELECT p.id, p.at, p.written_before AS `before`,"+
		" p.anchor_id AS anchor, p.last_id AS last, p.actor AS `by`, a.at AS anchored_at, a.last_id AS anchored_last"+
		" FROM prunings p LEFT JOIN anchors a ON a.id = p.anchor_id ORDER BY p.id")
	for _, run := range runs {
		p.runs = append(p.runs, run.Pruning)
		switch {
		case run.At.Sub(run.Before) < MinKept,
			run.Anchor != 0 && (run.AnchoredAt == nil || !run.AnchoredAt.Before(run.Before) || run.AnchoredLast != run.Last):
			p.odd = append(p.odd, evidence.Trouble{Text: fmt.Sprintf(
				"entry %d of prunings was not written by enqueuer prune, or was changed", run.ID)})
		default:
			p.before, p.anchor, p.last = latest(p.before, run.Before), max(p.anchor, run.Anchor), max(p.last, run.Last)
		}
	}
	return p, err
}

// Prunings are the runs of Prune, the oldest first.
func (s *Store) Prunings(ctx context.Context) ([]Pruning, error) {
	p, err := s.readPruned(ctx)
	return p.runs, err
}

// explains reports whether documents are missing before the first one of a request because they were removed.
func (p pruned) explains(chain []evidence.Stored) bool {
	return p.last > 0 && len(chain) > 0 && chain[0].Number > 1
}
