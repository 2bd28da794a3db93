package mysql

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/hex"
	"iter"
	"slices"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// Walk is how far the rows of the LMS have been read into the table of owners.
type Walk struct {
	Rows  int64 // read by this call
	Share int   // of the first walk through the tables, in percent
}

const (
	// ownersPage is how many rows of the LMS are read at a time.
	ownersPage = 2_000
	// ownersOverlap is how many primary keys are read again each time: a transaction takes its key when it begins, so its
	// row may come into sight below others that have been read.
	ownersOverlap = 1_000
)

// What fails, in errors.
const (
	readingWalk = "reading how far the owners of directories are known"
	savingWalk  = "writing down how far the owners of directories are known"
)

// ownersLock is held by the process that walks.
const ownersLock = "certpurge_owners:%.40s"

// WalkOwners reads rows of the LMS into the table of owners, page by page along the primary keys: those that are new;
// and, where the latest walk is older than again, all of the live table once more, because a certificate that is made
// anew gets other ids in its old row. The repeated walk rests nine times as long as it works. One process walks at a
// time; for others nothing happens. progress is called after each page.
func (s *Store) WalkOwners(ctx context.Context, again time.Duration, progress func(Walk)) error {
	release, leading, err := s.lead(ctx, ownersLock)
	if err != nil || !leading {
		return err
	}
	defer release()
	var walk Walk
	for i, t := range s.referenceTables() {
		last, err := s.lastKey(ctx, t)
		if err != nil {
			return err
		}
		// A table that was restored from a backup counts from where it was then.
		_, err = s.exec(ctx, savingWalk, "UPDATE owner_walks SET position = ? WHERE source_table = ? AND position > ?",
			last, t.table, last)
		if err != nil {
			return err
		}
		err = s.walk(ctx, t, "position", 0, func(at int64, rows int) {
			walk.Rows += int64(rows)
			walk.Share = min(i*50+int(50*at/max(last, 1)), 100)
			progress(walk)
		})
		if err != nil {
			return err
		}
	}
	var due bool
	err = s.read(ctx, readingWalk, &due, "SELECT again > 0 OR walked_at NOT BETWEEN"+
		" UTC_TIMESTAMP(6) - INTERVAL ? SECOND AND UTC_TIMESTAMP(6)"+
		" FROM owner_walks WHERE source_table = ?", int64(again.Seconds()), purge.Live)
	if err != nil || !due {
		return err
	}
	return s.walk(ctx, s.referenceTables()[0], "again", 9, func(_ int64, rows int) {
		walk.Rows += int64(rows)
		progress(walk)
	})
}

// walk reads a table from the position in a column of owner_walks to its end, and rests after each page as many times
// as long as that took.
func (s *Store) walk(ctx context.Context, t referenceTable, column string, rests int,
	page func(at int64, rows int),
) error {
	_, err := s.exec(ctx, savingWalk, "INSERT IGNORE INTO owner_walks (source_table, position, again) VALUES (?, 0, 0)",
		t.table)
	if err != nil {
		return err
	}
	var at int64
	err = s.read(ctx, readingWalk, &at, "SELECT "+column+" FROM owner_walks WHERE source_table = ?", t.table)
	if err != nil {
		return err
	}
	if column == "position" {
		at = max(0, at-ownersOverlap)
	}
	for {
		begun := time.Now()
		owners, last, rows, err := s.readOwners(ctx, t, at)
		if err != nil {
			return err
		}
		if err := s.addOwners(ctx, owners); err != nil {
			return err
		}
		text, args := column+" = GREATEST("+column+", ?)", []any{max(at, last)}
		if rows < ownersPage { // the end
			text, args = "position = GREATEST(position, ?), again = 0, walked_at = IF(? OR walked_at IS NULL, "+
				"UTC_TIMESTAMP(6), walked_at)",
				[]any{max(at, last), column == "again"}
		}
		_, err = s.exec(ctx, savingWalk, "UPDATE owner_walks SET "+text+" WHERE source_table = ?", append(args, t.table)...)
		if err != nil {
			return err
		}
		at = max(at, last)
		page(at, rows)
		if rows < ownersPage {
			return nil
		}
		if !purge.Sleep(ctx, time.Duration(rests)*time.Since(begun)) {
			return classify("reading the owners of directories", ctx.Err())
		}
	}
}

// owner is one row of directory_owners.
type owner struct {
	id   [16]byte
	user purge.UserID
}

// readOwners reads one page of a table after a primary key.
func (s *Store) readOwners(ctx context.Context, t referenceTable, after int64) (owners []owner, last int64, n int,
	err error,
) {
	err = each(ctx, s.sql, func(rows *sql.Rows) error {
		var user sql.NullInt64
		var texts [3]sql.NullString
		if err := rows.Scan(&last, &user, &texts[0], &texts[1], &texts[2]); err != nil {
			return err
		}
		n++
		if user.Valid { // the user_id of a history row may be null
			for id := range idsIn(texts[:]...) {
				owners = append(owners, owner{id, purge.UserID(user.Int64)})
			}
		}
		return nil
	}, "SELECT "+t.key+", user_id, "+exact("download_uuid")+", "+exact("verify_uuid")+", "+exact("download_url")+
		" FROM "+t.name+" WHERE "+t.key+" > ? ORDER BY "+t.key+" LIMIT ?", after, ownersPage)
	// In the order of the primary key, so that the pages of the table are touched one after the other.
	slices.SortFunc(owners, func(a, b owner) int {
		return cmp.Or(bytes.Compare(a.id[:], b.id[:]),
			cmp.Compare(a.user, b.user))
	})
	return slices.Compact(owners), last, n, classify("reading the owners of directories", err)
}

func (s *Store) addOwners(ctx context.Context, owners []owner) error {
	for part := range slices.Chunk(owners, acceptBatch) {
		args := make([]any, 0, 2*len(part))
		for _, o := range part {
			args = append(args, o.id[:], o.user)
		}
		_, err := s.exec(ctx, "writing down the owners of directories", "INSERT IGNORE INTO directory_owners (id, user_id)"+
			" VALUES "+tuples("(?, ?)", len(part)), args...)
		if err != nil {
			return err
		}
	}
	return nil
}

// CheckOwners reports whether both tables have been read to their ends at least once.
func (s *Store) CheckOwners(ctx context.Context) error {
	var known int
	err := s.read(ctx, readingWalk, &known, "SELECT COUNT(walked_at) FROM owner_walks")
	if err == nil && known < 2 {
		return &purge.Error{Class: purge.Unavailable, Text: "the directories of all users are being read for the first " +
			"time, so that none is" +
			" deleted that another user's row names; purging begins after that"}
	}
	return err
}

// sharingBatch is how many ids one statement requests, so that it stays far below any server's max_allowed_packet.
const sharingBatch = 100

type sharingCall struct {
	user purge.UserID
	ids  []string
}

// Sharing finds the other users of directories, in one round trip for each 100 ids: in the table of owners; in
// verify_uuid of the LMS's rows, which has an index; in rows that are newer than what has been read into the table of
// owners; and in the live rows of certificates that were given to another user, while the history still names this one.
func (s *Store) Sharing(ctx context.Context, user purge.UserID, ids []string) ([]purge.Shared, error) {
	return s.batches.sharing.Do(ctx, sharingCall{user, ids})
}

func (s *Store) sharingAll(ctx context.Context, calls []sharingCall, _ bool) ([]purge.Answer[[]purge.Shared], error) {
	answers := make([]purge.Answer[[]purge.Shared], len(calls))
	of := map[string][]int{} // the calls that are about an id
	var ids []string
	var users []any
	for i, c := range calls {
		users = append(users, c.user)
		for _, id := range c.ids {
			if of[id] == nil {
				ids = append(ids, id)
			}
			of[id] = append(of[id], i)
		}
	}
	scan := func(rows *sql.Rows) error {
		var other purge.UserID
		var texts [3]sql.NullString
		if err := rows.Scan(&other, &texts[0], &texts[1], &texts[2]); err != nil {
			return err
		}
		for id := range idsIn(texts[:]...) {
			shared := purge.Shared{ID: hex.EncodeToString(id[:]), Other: other}
			for _, i := range of[shared.ID] {
				if other != calls[i].user && !slices.Contains(answers[i].Value, shared) {
					answers[i].Value = append(answers[i].Value, shared)
				}
			}
		}
		return nil
	}
	for some := range slices.Chunk(ids, sharingBatch) {
		text, args := s.sharingOf(some)
		if &some[0] == &ids[0] { // the ids of these rows are compared here, with all
			text, args = text+s.sharingOther(len(users)), append(args, users...)
		}
		if err := each(ctx, s.sql, scan, text, args...); err != nil {
			return nil, classify("looking for other users of directories", err)
		}
	}
	return answers, nil
}

// sharingColumns are what is read of a row that may name a directory.
func sharingColumns(row string) string {
	return row + ".user_id, " + exact(row+".download_uuid") + ", " + exact(row+".verify_uuid") + ", " +
		exact(row+".download_url")
}

// sharingOf selects what holds one of some ids and has an index.
func (s *Store) sharingOf(ids []string) (text string, args []any) {
	verified := func(table string) string {
		return " UNION ALL SELECT " + sharingColumns("r") + " FROM " + table + " r WHERE r.user_id IS NOT NULL AND" +
			" r.verify_uuid IN (" + tuples("?", len(ids)) + ")"
	}
	text = "SELECT user_id, HEX(id), '', '' FROM directory_owners WHERE id IN (" + tuples("UNHEX(?)", len(ids)) + ")" +
		verified(s.tables.certificates) + verified(s.tables.history)
	return text, slices.Repeat(anys(ids), 3)
}

// sharingOther selects rows that are new, and live rows that were given to another user than some.
func (s *Store) sharingOther(users int) string {
	newer := func(table, id string, source purge.Table) string {
		return " UNION ALL SELECT " + sharingColumns("r") + " FROM " + table + " r WHERE r.user_id IS NOT NULL AND r." + id +
			" > COALESCE((SELECT position FROM owner_walks WHERE source_table = '" + string(source) + "'), 0)"
	}
	return newer(s.tables.certificates, "id", purge.Live) + newer(s.tables.history, "history_id", purge.History) +
		" UNION ALL SELECT " + sharingColumns("r") + " FROM " + s.tables.history + " h JOIN " + s.tables.certificates +
		" r ON r.id = h.id WHERE h.user_id IN (" + tuples("?", users) + ") AND r.user_id <> h.user_id"
}

func anys[T any](values []T) []any {
	all := make([]any, len(values))
	for i, v := range values {
		all[i] = v
	}
	return all
}

// idsIn are the ids that name directories in the columns of a row: each column's, and those in a link.
func idsIn(columns ...sql.NullString) iter.Seq[[16]byte] {
	return func(yield func([16]byte) bool) {
		for _, column := range columns {
			for text := column.String; len(text) >= 32; {
				n := 0
				for n < 32 && isHex(text[n]) {
					n++
				}
				if n < 32 { // the next id begins behind what is no digit
					text = text[n+1:]
					continue
				}
				var id [16]byte
				if _, err := hex.Decode(id[:], []byte(text[:32])); err == nil && !yield(id) {
					return
				}
				text = text[32:]
			}
		}
	}
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}
