package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	driversql "github.com/go-sql-driver/mysql"

	"github.com/certpurge/certpurge/internal/evidence"
	"github.com/certpurge/certpurge/internal/purge"
)

// The columns of the tables in which versions before ledger version 7 wrote evidence. Nothing is added to them any
// more, but by a worker of such a version that runs beside this one.
const (
	legacyObjects = "id, request_id, user_id, certificate_id, source_table, attempt, bucket, directory, name, " +
		"generation, size, cache_control, outcome, until, accepted_by, listed_at, settled_at"
	legacyLinks = "id, request_id, user_id, certificate_id, source_table, attempt, references_cleared, cleared_at"
)

func scanLegacyObject(rows *sql.Rows) (id int64, r evidence.Row, err error) {
	var until, settled sql.NullTime
	err = rows.Scan(&id, &r.Request, &r.User, &r.Certificate, &r.Table, &r.Attempt, &r.Directory.Bucket,
		&r.Directory.Prefix, &r.Name, &r.Generation, &r.Size, &r.CacheControl, &r.Outcome, &until, &r.AcceptedBy,
		&r.ListedAt, &settled)
	r.Until, r.SettledAt = until.Time, settled.Time
	return id, r, err
}

func scanLegacyLinks(rows *sql.Rows) (id int64, c evidence.Clearing, err error) {
	err = rows.Scan(&id, &c.Request, &c.User, &c.Certificate, &c.Table, &c.Attempt, &c.References, &c.At)
	return id, c, err
}

// convertPage is how many requests are converted in one transaction.
const convertPage = 200

// ConvertEvidence writes a document for each request whose evidence an earlier version has written in rows: for all of
// them, or for those that such a version has changed since. The rows stay. It may run while workers do, be stopped, and
// run again: what has a document is left. progress is called with the number of requests that have been converted so
// far.
func (s *Store) ConvertEvidence(ctx context.Context, progress func(requests int)) (converted int, err error) {
	db := sql.OpenDB(s.migrating)
	defer func() { err = errors.Join(err, db.Close()) }()
	for last := purge.RequestID(0); ; {
		var page []purge.RequestID
		one := func(table string) string {
			return "(SELECT DISTINCT request_id FROM " + table + " WHERE request_id > ? ORDER BY request_id LIMIT ?)"
		}
		err := each(ctx, db, func(rows *sql.Rows) error {
			var id purge.RequestID
			err := rows.Scan(&id)
			page = append(page, id)
			return err
		}, one("evidence_objects")+" UNION "+one("evidence")+" ORDER BY request_id LIMIT ?", last, convertPage, last,
			convertPage, convertPage)
		if err != nil || len(page) == 0 {
			return converted, classify("converting evidence", err)
		}
		last = page[len(page)-1]
		for {
			n, err := s.convertRequests(ctx, db, page)
			if isDuplicate(err) { // a worker has written a document of one of them meanwhile
				continue
			}
			if err != nil {
				return converted, classify("converting evidence", err)
			}
			if converted += n; n > 0 {
				progress(converted)
			}
			break
		}
	}
}

// legacy is what earlier versions have written of one request.
type legacy struct {
	document *evidence.Document
	latest   time.Time // when the latest of it was written
	chain    purge.Chain
	before   time.Time // when it was converted last
}

func (s *Store) convertRequests(ctx context.Context, db *sql.DB, ids []purge.RequestID) (converted int, err error) {
	found := map[purge.RequestID]*legacy{}
	list := " IN (" + tuples("?", len(ids)) + ")"
	args := anys(ids)
	if err := s.readOrigins(ctx, db, list, args, found); err != nil {
		return 0, err
	}
	err = each(ctx, db, func(rows *sql.Rows) error {
		_, r, err := scanLegacyObject(rows)
		if l := found[r.Request]; err == nil && l != nil {
			l.document.AddRow(r)
			l.latest = latest(l.latest, r.ListedAt, r.SettledAt)
		}
		return err
	}, "SELECT "+legacyObjects+" FROM evidence_objects WHERE request_id"+list+" ORDER BY id", args...)
	if err != nil {
		return 0, err
	}
	err = each(ctx, db, func(rows *sql.Rows) error {
		_, c, err := scanLegacyLinks(rows)
		if l := found[c.Request]; err == nil && l != nil {
			l.document.AddClearing(c)
			l.latest = latest(l.latest, c.At)
		}
		return err
	}, "SELECT "+legacyLinks+" FROM evidence WHERE request_id"+list+" ORDER BY id", args...)
	if err != nil {
		return 0, err
	}
	var documents []document
	for _, id := range ids {
		if l := found[id]; l != nil && l.latest.After(l.before) {
			l.document.At = s.now()
			documents = append(documents, document{Document: l.document, chain: l.chain})
		}
	}
	if len(documents) == 0 {
		return 0, nil
	}
	return len(documents), insertDocuments(ctx, db, documents)
}

// readOrigins reads requests, where their chains end, and when they were converted last.
func (s *Store) readOrigins(ctx context.Context, db *sql.DB, list string, args []any,
	found map[purge.RequestID]*legacy,
) error {
	err := each(ctx, db, func(rows *sql.Rows) error {
		var id purge.RequestID
		var user purge.UserID
		var certificate purge.CertificateID
		var o purge.Origin
		var attempts int
		if err := rows.Scan(&id, &user, &certificate, &o.Source, &o.RequestedBy, &o.RequestedAt, &o.ReopenedBy,
			&attempts); err != nil {
			return err
		}
		found[id] = &legacy{document: s.Writer.Migrated(purge.Attempt{
			Task: purge.Task{Request: id, User: user, Certificate: certificate}, Number: attempts, Origin: o,
		})}
		return nil
	}, "SELECT id, user_id, certificate_id, source, requested_by, requested_at, reopened_by, attempts_made FROM requests"+
		" WHERE id"+list, args...)
	if err != nil {
		return err
	}
	return each(ctx, db, func(rows *sql.Rows) error {
		var id purge.RequestID
		var part evidence.Part
		var at time.Time
		var tail sql.NullString
		if err := rows.Scan(&id, &part, &at, &tail); err != nil {
			return err
		}
		l := found[id]
		if l == nil {
			return nil
		}
		if part == evidence.Migrated {
			l.before = at
		}
		chain, err := parseChain(tail)
		l.chain = chain
		return err
	}, "SELECT request_id, part, at, "+chainTail+" FROM evidence_documents WHERE request_id"+list+
		" ORDER BY request_id, number", args...)
}

// insertDocuments writes documents in one transaction.
func insertDocuments(ctx context.Context, db *sql.DB, documents []document) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a Commit it has nothing to do; without one, the error is returned
	var q script
	if err := addDocuments(&q, documents, largestDocument); err != nil {
		return err
	}
	for _, statement := range q.statements {
		if _, err := tx.ExecContext(ctx, statement.text, statement.args...); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func latest(times ...time.Time) time.Time { return slices.MaxFunc(times, time.Time.Compare) }

// supersededRights are those that earlier versions needed, and this one does not.
var supersededRights = map[Role][]right{
	RoleWorker: {{"evidence", "INSERT, UPDATE", nil}, {"evidence_objects", "INSERT, UPDATE", nil}},
}

// Server error numbers of REVOKE (MySQL reference manual; MariaDB).
const (
	erNonexistingGrant      = 1141
	erNonexistingTableGrant = 1147
)

// RevokeSuperseded takes rights from an account that only earlier versions needed. What is not granted is no error.
func (s *Store) RevokeSuperseded(ctx context.Context, role Role, account string) (err error) {
	at, err := accountText(account, role)
	if err != nil {
		return err
	}
	db := sql.OpenDB(s.migrating)
	defer func() { err = errors.Join(err, db.Close()) }()
	for _, r := range supersededRights[role] {
		_, err := db.ExecContext(ctx, fmt.Sprintf("REVOKE %s ON %s.`%s` FROM %s", r.verb, quoteName(s.ledger), r.table, at))
		if e, ok := errors.AsType[*driversql.MySQLError](err); ok &&
			(e.Number == erNonexistingTableGrant || e.Number == erNonexistingGrant) {
			err = nil
		}
		if err != nil {
			return classify("revoking rights that are not needed any more", err)
		}
	}
	return nil
}

// supersededIndexes are those of the table requests that programs before ledger version 11 need, and this one does not.
var supersededIndexes = []string{"requests_finished", "requests_open", "requests_opened"}

// SupersededIndexes returns the indexes of the ledger that only earlier versions need.
func (s *Store) SupersededIndexes(ctx context.Context) (names []string, err error) {
	err = s.read(ctx, "reading the ledger's indexes", &names, "SELECT DISTINCT index_name FROM"+
		" information_schema.statistics WHERE table_schema = ? AND table_name = 'requests' AND index_name IN ?"+
		" ORDER BY index_name", s.ledger, supersededIndexes)
	return names, err
}

// DropSuperseded drops the indexes that only earlier versions need, with the rights of the account that migrates, and
// returns their names. Requests are accepted and purged meanwhile; programs of an earlier version fail from then on.
func (s *Store) DropSuperseded(ctx context.Context) (dropped []string, err error) {
	names, err := s.SupersededIndexes(ctx)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	db := sql.OpenDB(s.migrating)
	defer func() { err = errors.Join(err, db.Close()) }()
	_, err = db.ExecContext(ctx, "ALTER TABLE requests DROP KEY "+strings.Join(names, ", DROP KEY ")+
		", ALGORITHM = INPLACE, LOCK = NONE")
	return names, classify("dropping indexes that are not needed any more", err)
}
