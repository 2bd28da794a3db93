package mysql

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"time"

	"gorm.io/gorm"

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

func (s *Store) addOrphanSet(ctx context.Context, key string, set purge.OrphanSet) (purge.CertificateID, error) {
	db := s.gorm.WithContext(ctx)
	find := func() (id purge.CertificateID, err error) {
		err = db.Raw("SELECT id FROM orphan_sets WHERE idempotency_key = ?", key).Scan(&id).Error
		return id, err
	}
	if id, err := find(); err != nil || id != 0 {
		return id, err
	}
	row := orphanSet{IdempotencyKey: key, CreatedBefore: set.Before.UTC()}
	err := db.Transaction(func(tx *gorm.DB) error {
		if err := tx.Create(&row).Error; err != nil {
			return err //nolint:wrapcheck // classified by AddOrphanSet
		}
		args := make([]any, 0, 4*len(set.Directories))
		for i, dir := range set.Directories {
			args = append(args, row.ID, i, dir.Bucket, dir.Prefix)
		}
		return tx.Exec("INSERT INTO orphan_directories (set_id, number, bucket, directory) VALUES "+
			tuples("(?, ?, ?, ?)", len(set.Directories)), args...).Error
	})
	if lostRace(err) { // perhaps against the same list, by another command
		if id, failed := find(); failed == nil && id != 0 {
			return id, nil
		}
	}
	return row.ID, err
}

// orphanSet is a row of orphan_sets.
type orphanSet struct {
	ID             purge.CertificateID
	IdempotencyKey string
	CreatedBefore  time.Time
}

// OrphanSet returns the directories of a set.
func (s *Store) OrphanSet(ctx context.Context, id purge.CertificateID) (purge.OrphanSet, error) {
	const what = "reading a set of orphans"
	var set purge.OrphanSet
	err := s.read(ctx, what, &set.Before, "SELECT created_before FROM orphan_sets WHERE id = ?", id)
	if err == nil {
		err = s.read(ctx, what, &set.Directories, "SELECT bucket, directory AS prefix FROM orphan_directories"+
			" WHERE set_id = ? ORDER BY number", id)
	}
	if err == nil && len(set.Directories) == 0 {
		return set, &purge.Error{Class: purge.Transient, Text: fmt.Sprintf("the ledger has no set of orphans %d", id)}
	}
	return set, err
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
	for _, t := range s.referenceTables() {
		last, err := s.lastKey(ctx, t)
		if err != nil {
			return nil, err
		}
		text := "SELECT " + exact("download_uuid") + ", " + exact("verify_uuid") + ", " + exact("download_url") + " FROM " +
			t.name +
			" WHERE " + t.key + " > ? AND " + t.key + " <= ? AND " + hasReference + " AND (download_uuid IN (" + some +
			") OR verify_uuid IN (" + some +
			") OR download_url <> '' AND (download_uuid = '' OR LOCATE(download_uuid, download_url) = 0))"
		for from := int64(0); from < last; from += referencedPage {
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
