package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/certpurge/certpurge/internal/evidence"
	"github.com/certpurge/certpurge/internal/purge"
)

// referencesPage is how many rows EachReference reads at a time.
const referencesPage = 5_000

// EachReference calls do for every row of the LMS that holds a reference, live and history, with its user, which is 0
// where a history row does not know it. It reads page by page along the primary keys, so no transaction is long. Rows
// that are written meanwhile are seen if their key lies ahead.
func (s *Store) EachReference(ctx context.Context, do func(purge.UserID, purge.Reference) error) error {
	for _, t := range s.referenceTables() {
		for last, rows := int64(0), referencesPage; rows == referencesPage; {
			var err error
			if last, rows, err = s.readReferences(ctx, t, last, referencesPage, do); err != nil {
				return classify("reading the references of the LMS", err)
			}
		}
	}
	return nil
}

// samplePage is how many rows are read in each place of a sample.
const samplePage = 20

// SampleReferences calls do for references in a number of places that are spread evenly over the keys of both tables.
// It reads a few rows in each.
func (s *Store) SampleReferences(ctx context.Context, places int, do func(purge.UserID, purge.Reference) error) error {
	for _, t := range s.referenceTables() {
		end, err := s.lastKey(ctx, t)
		if err != nil {
			return err
		}
		for i, last := int64(0), int64(0); i < int64(places) && last < end; i++ {
			if last, _, err = s.readReferences(ctx, t, max(last, i*end/int64(places)), samplePage, do); err != nil {
				return classify("reading the references of the LMS", err)
			}
		}
	}
	return nil
}

// referenceTable is a table whose rows hold references, and its primary key.
type referenceTable struct {
	table     purge.Table
	name, key string
}

func (s *Store) referenceTables() []referenceTable {
	return []referenceTable{{purge.Live, s.tables.certificates, "id"}, {purge.History, s.tables.history, "history_id"}}
}

// lastKey is the highest primary key of a table; 0 if it has no row.
func (s *Store) lastKey(ctx context.Context, t referenceTable) (last int64, err error) {
	err = s.read(ctx, "reading the LMS database", &last, "SELECT COALESCE(MAX("+t.key+"), 0) FROM "+t.name)
	return last, err
}

// readReferences reads one page of rows after a key, and returns the last key and the number of rows.
func (s *Store) readReferences(
	ctx context.Context, t referenceTable, after int64, limit int, do func(purge.UserID, purge.Reference) error,
) (last int64, rows int, err error) {
	last = after
	err = each(ctx, s.sql, func(row *sql.Rows) error {
		var user purge.UserID
		var download, verify, url sql.NullString
		ref := purge.Reference{Table: t.table}
		if err := row.Scan(&ref.RowID, &ref.CertificateID, &user, &download, &verify, &url); err != nil {
			return err
		}
		rows++
		last = ref.RowID
		ref.DownloadUUID, ref.VerifyUUID, ref.DownloadURL = download.String, verify.String, url.String
		if ref.DownloadUUID == "" && ref.DownloadURL == "" {
			return nil
		}
		return do(user, ref)
	}, "SELECT "+t.key+", id, COALESCE(user_id, 0), "+exact("download_uuid")+", "+exact("verify_uuid")+", "+
		exact("download_url")+" FROM "+t.name+" WHERE "+t.key+" > ? ORDER BY "+t.key+" LIMIT ?", after, limit)
	return last, rows, err
}

// IDs are all that could name a directory in the columns of a reference, also where the whole is not understood.
func IDs(ref purge.Reference, do func(id [16]byte)) {
	for id := range idsIn(
		sql.NullString{String: ref.DownloadUUID}, sql.NullString{String: ref.VerifyUUID},
		sql.NullString{String: ref.DownloadURL},
	) {
		do(id)
	}
}

// EachOutcome calls do for the evidence of every object that was erased, or that something protected, with its
// directory and when it was settled.
func (s *Store) EachOutcome(ctx context.Context,
	do func(dir purge.Directory, outcome purge.Outcome, at time.Time) error,
) error {
	report := func(r *evidence.Row) error {
		if r.Outcome != purge.Erased && !r.Outcome.Kept() {
			return nil
		}
		return do(r.Directory, r.Outcome, r.SettledAt)
	}
	for _, t := range []struct {
		columns, table string
		scan           func(*sql.Rows) (last int64, err error)
	}{
		{legacyObjects, "evidence_objects", func(rows *sql.Rows) (int64, error) {
			id, row, err := scanLegacyObject(rows)
			if err != nil {
				return id, err
			}
			return id, report(&row)
		}},
		{"id, document", "evidence_documents", func(rows *sql.Rows) (id int64, err error) {
			var text []byte
			if err := rows.Scan(&id, &text); err != nil {
				return 0, err
			}
			d, err := evidence.Decode(text)
			if err != nil {
				return id, fmt.Errorf("document %d: %w", id, err)
			}
			var h evidence.History
			h.Add(id, d)
			for _, row := range h.Rows() {
				if err := report(row); err != nil {
					return id, err
				}
			}
			return id, nil
		}},
	} {
		for last, rows := int64(0), referencesPage; rows == referencesPage; {
			rows = 0
			err := each(ctx, s.sql, func(row *sql.Rows) (err error) {
				rows++
				last, err = t.scan(row)
				return err
			}, "SELECT "+t.columns+" FROM "+t.table+" WHERE id > ? ORDER BY id LIMIT ?", last, referencesPage)
			if err != nil {
				return classify("reading the evidence", err)
			}
		}
	}
	return nil
}
