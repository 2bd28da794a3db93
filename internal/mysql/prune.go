package mysql

import (
	"context"
	"database/sql"
	"errors"
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
		for n := int64(pruneBatch); n == pruneBatch; {
			text := "DELETE FROM " + t.table + " WHERE " + t.condition + " LIMIT ?" //nolint:gosec // a text of our own
			result, err := db.ExecContext(ctx, text, t.arg, pruneBatch)
			if err != nil {
				return pruned, classify(what, err)
			}
			if n, err = result.RowsAffected(); err != nil {
				return pruned, classify(what, err)
			}
			*t.count += n
		}
	}
	return pruned, nil
}

// pruned is what Prune has removed so far.
type pruned struct {
	before time.Time // 1970 if nothing ever was
	anchor int64     // the last whose documents are gone
	last   int64     // document
}

// readPruned reads what has been removed.
func (s *Store) readPruned(ctx context.Context) (p pruned, err error) {
	var before sql.NullTime
	var anchor, last sql.NullInt64
	err = s.sql.QueryRowContext(ctx, "SELECT MAX(written_before), MAX(anchor_id), MAX(last_id) FROM prunings").
		Scan(&before, &anchor, &last)
	p = pruned{latest(before.Time, time.Unix(0, 0)).UTC(), anchor.Int64, last.Int64}
	return p, classify("reading what was removed", err)
}

// explains reports whether documents are missing before the first one of a request because they were removed.
func (p pruned) explains(chain []evidence.Stored) bool {
	return p.last > 0 && len(chain) > 0 && chain[0].Number > 1
}
