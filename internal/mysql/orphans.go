package mysql

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/certpurge/certpurge/internal/purge"
)

// AddOrphanSet writes a set of at most purge.MaxOrphans directories, or finds the one that was written with this key
// before, and returns its number.
func (s *Store) AddOrphanSet(ctx context.Context, key string, set purge.OrphanSet) (purge.CertificateID, error) {
	if len(set.Directories) == 0 || len(set.Directories) > purge.MaxOrphans {
		return 0, fmt.Errorf("a set of %d directories: expected 1 to %d", len(set.Directories), purge.MaxOrphans)
	}
	id, err := s.addOrphanSet(ctx, key, set)
	return id, classify("writing a set of orphans to the ledger", err)
}

func (s *Store) addOrphanSet(ctx context.Context, key string, set purge.OrphanSet) (id purge.CertificateID, err error) {
	find := func() error {
		return s.sql.QueryRowContext(ctx, "SELECT id FROM orphan_sets WHERE idempotency_key = ?", key).Scan(&id)
	}
	if err := find(); !errors.Is(err, sql.ErrNoRows) {
		return id, err
	}
	tx, err := s.sql.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreDone(tx.Rollback()))
		}
	}()
	result, err := tx.ExecContext(ctx, "INSERT INTO orphan_sets (idempotency_key, created_before) VALUES (?, ?)", key,
		set.Before.UTC())
	if lostRace(err) { // the same list, by another command
		return id, errors.Join(ignoreDone(tx.Rollback()), find())
	}
	if err != nil {
		return 0, err
	}
	number, err := result.LastInsertId()
	if err != nil {
		return 0, err
	}
	args := make([]any, 0, 4*len(set.Directories))
	for i, dir := range set.Directories {
		args = append(args, number, i, dir.Bucket, dir.Prefix)
	}
	text := "INSERT INTO orphan_directories" + //nolint:gosec // a text of our own
		" (set_id, number, bucket, directory) VALUES " + tuples("(?, ?, ?, ?)", len(set.Directories))
	if _, err := tx.ExecContext(ctx, text, args...); err != nil {
		return 0, err
	}
	return purge.CertificateID(number), tx.Commit()
}

func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

// OrphanSet returns the directories of a set.
func (s *Store) OrphanSet(ctx context.Context, id purge.CertificateID) (purge.OrphanSet, error) {
	var set purge.OrphanSet
	err := each(ctx, s.sql, func(rows *sql.Rows) error {
		var dir purge.Directory
		err := rows.Scan(&set.Before, &dir.Bucket, &dir.Prefix)
		set.Directories = append(set.Directories, dir)
		return err
	}, "SELECT s.created_before, d.bucket, d.directory FROM orphan_sets s JOIN orphan_directories d ON d.set_id = s.id "+
		"WHERE s.id = ? ORDER BY d.number", id)
	if err == nil && len(set.Directories) == 0 {
		return set, &purge.Error{Class: purge.Transient, Text: fmt.Sprintf("the ledger has no set of orphans %d", id)}
	}
	return set, classify("reading a set of orphans", err)
}

// referencedPage is how many primary keys of a table one statement of Referenced covers.
const referencedPage = 20_000

// Referenced looks for ids in all rows of the LMS: there is no index on download_uuid, and what certpurge remembers of
// it may be a day old. One pass costs the server what a scan of the two tables costs, in statements of 20,000 rows
// each; a row whose link does not hold its download_uuid is read, the others are compared by the server.
func (s *Store) Referenced(ctx context.Context, ids []string) (map[string]bool, error) {
	held := make(map[string]bool, len(ids))
	if len(ids) == 0 {
		return held, nil
	}
	asked := make(map[string]bool, len(ids))
	for _, id := range ids {
		asked[id] = true
	}
	some := tuples("?", len(ids))
	for _, t := range []struct{ name, key string }{{s.tables.certificates, "id"}, {s.tables.history, "history_id"}} {
		var last sql.NullInt64
		if err := s.sql.QueryRowContext(ctx, "SELECT MAX("+t.key+") FROM "+t.name).Scan(&last); err != nil {
			return nil, classify("reading the references of the LMS", err)
		}
		text := "SELECT " + exact("download_uuid") + ", " + exact("verify_uuid") + ", " + exact("download_url") + " FROM " +
			t.name +
			" WHERE " + t.key + " > ? AND " + t.key + " <= ? AND " + hasReference + " AND (download_uuid IN (" + some +
			") OR verify_uuid IN (" + some +
			") OR download_url <> '' AND (download_uuid = '' OR LOCATE(download_uuid, download_url) = 0))"
		for from := int64(0); from < last.Int64; from += referencedPage {
			args := append(append([]any{from, from + referencedPage}, anys(ids)...), anys(ids)...)
			err := each(ctx, s.sql, func(rows *sql.Rows) error {
				var texts [3]sql.NullString
				if err := rows.Scan(&texts[0], &texts[1], &texts[2]); err != nil {
					return err
				}
				for id := range idsIn(texts[:]...) {
					if name := hex.EncodeToString(id[:]); asked[name] {
						held[name] = true
					}
				}
				return nil
			}, text, args...)
			if err != nil {
				return nil, classify("reading the references of the LMS", err)
			}
		}
	}
	return held, nil
}
