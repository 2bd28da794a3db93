package dataset

import (
	"context"
	"crypto/sha1" //nolint:gosec // Open edX's own way to make up retired names; no secret
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/certpurge/certpurge/internal/sandbox/lms"
)

// Some days long ago, with the microseconds that the LMS stores.
const (
	joined   = "2014-02-03 04:05:06.789012"
	issued   = "2015-03-04 05:06:07.123456"
	changed  = "2020-04-05 06:07:08.234567"
	askedFor = "2021-05-06 07:08:09.345678"
)

// insert writes all rows. The others refer to the users, so these go first.
func (d *Dataset) insert(ctx context.Context, db *sql.DB, database string) error {
	users := newInserter(ctx, db, database, lms.Users, "id", "password", "is_superuser", "username", "first_name",
		"last_name",
		"email", "is_staff", "is_active", "date_joined")
	for i := range d.Users {
		u := &d.Users[i]
		a := u.account()
		users.add(u.ID, "!", false, a.username, "", "", a.email, false, !u.requested, joined)
	}
	if err := users.end(); err != nil {
		return err
	}
	if err := d.insertRetirements(ctx, db, database); err != nil {
		return err
	}
	return d.insertCertificates(ctx, db, database)
}

func (d *Dataset) insertRetirements(ctx context.Context, db *sql.DB, database string) error {
	states, err := stateIDs(ctx, db, database)
	if err != nil {
		return err
	}
	requests := newInserter(ctx, db, database, lms.RetirementRequest, "created", "modified", "user_id")
	statuses := newInserter(ctx, db, database, lms.RetirementStatus, "created", "modified", "original_username",
		"original_email",
		"original_name", "retired_username", "retired_email", "responses", "current_state_id", "last_state_id", "user_id")
	partners := newInserter(ctx, db, database, lms.PartnerReporting, "created", "modified", "original_username",
		"original_email",
		"original_name", "is_being_processed", "user_id")
	for i := range d.Users {
		u := &d.Users[i]
		a := u.account()
		if u.requested {
			requests.add(askedFor, askedFor, u.ID)
		}
		if u.State != "" {
			statuses.add(askedFor, askedFor, username(u.ID), username(u.ID)+"@example.com", u.learner.name, a.retiredName,
				a.retiredEmail, "",
				states[u.State], states[u.State], u.ID)
		}
		if u.State == "COMPLETE" {
			partners.add(askedFor, askedFor, username(u.ID), username(u.ID)+"@example.com", u.learner.name, false, u.ID)
		}
	}
	return errors.Join(requests.end(), statuses.end(), partners.end())
}

var certificateColumns = []string{
	"id", "course_id", "verify_uuid", "download_uuid", "download_url", "grade", "key", "distinction", "status", "mode",
	"name",
	"created_date", "modified_date", "error_reason", "user_id",
}

func (d *Dataset) insertCertificates(ctx context.Context, db *sql.DB, database string) error {
	live := newInserter(ctx, db, database, lms.Certificates, certificateColumns...)
	for i := range d.live {
		live.add(d.live[i].values()...)
	}
	history := newInserter(ctx, db, database, lms.History, append(slices.Clone(certificateColumns),
		"history_id", "history_date", "history_change_reason", "history_type", "history_user_id")...)
	for i := range d.history {
		r := &d.history[i]
		history.add(append(r.values(), r.id, changed, nil, r.kind, nil)...)
	}
	arguments := newInserter(ctx, db, database, lms.PurgeArguments, "change_date", "enabled", "arguments", "changed_by_id")
	arguments.add(changed, false, "--certificate_ids 1 2 3 --dry-run", nil)
	return errors.Join(live.end(), history.end(), arguments.end())
}

// values are those of certificateColumns.
func (r *row) values() []any {
	var user any
	name := ""
	if r.user != nil {
		user = r.user.ID
		name = r.user.nameInCertificates()
	}
	status := "downloadable"
	if r.download == "" && r.url == "" && r.kind != "" {
		status = "generating"
	}
	return []any{
		r.certificate, courseID(r.certificate), r.verify, r.download, r.url, "0.95", "", false, status, "honor", name,
		issued, changed, "", user,
	}
}

// account is what the LMS makes of a user's names in the course of the retirement.
type account struct {
	username, email, retiredName, retiredEmail string
}

func (u *User) account() account {
	sum := sha1.Sum([]byte(username(u.ID))) //nolint:gosec // see the import
	a := account{username: username(u.ID), email: username(u.ID) + "@example.com"}
	a.retiredName = "retired__user_" + hex.EncodeToString(sum[:])
	a.retiredEmail = a.retiredName + "@retired.invalid"
	if u.requested {
		a.email = a.retiredEmail // at once
	}
	if u.forgotten() {
		a.username = a.retiredName
	}
	return a
}

// forgotten reports whether the LMS's own step of the retirement is over.
func (u *User) forgotten() bool {
	return u.requested && (u.State == "" || u.State == "LMS_COMPLETE" || u.State == "COMPLETE")
}

// nameInCertificates is emptied by the LMS's own step, with or without a purge of the files.
func (u *User) nameInCertificates() string {
	if u.forgotten() {
		return ""
	}
	return u.learner.name
}

func stateIDs(ctx context.Context, db *sql.DB, database string) (map[string]int, error) {
	states := quoted(database) + "." + quoted(lms.RetirementStates)
	rows, err := db.QueryContext(ctx, "SELECT state_name, id FROM "+states) //nolint:gosec // names only
	if err != nil {
		return nil, fmt.Errorf("reading the retirement states: %w", err)
	}
	defer rows.Close()
	ids := map[string]int{}
	for rows.Next() {
		var name string
		var id int
		if err := rows.Scan(&name, &id); err != nil {
			return nil, fmt.Errorf("reading the retirement states: %w", err)
		}
		ids[name] = id
	}
	return ids, rows.Err()
}

// insertBatch is how many rows one INSERT carries.
const insertBatch = 500

// inserter collects rows of one table into large INSERTs. It remembers its first error.
type inserter struct {
	ctx    context.Context // of the one call of Seed that it serves
	db     *sql.DB
	table  string
	prefix string
	row    string // placeholders
	args   []any
	rows   int
	err    error
}

func newInserter(ctx context.Context, db *sql.DB, database, table string, columns ...string) *inserter {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = quoted(c)
	}
	return &inserter{
		ctx: ctx, db: db, table: table,
		prefix: "INSERT INTO " + quoted(database) + "." + quoted(table) + " (" + strings.Join(names, ", ") + ") VALUES ",
		row:    "(" + strings.TrimSuffix(strings.Repeat("?, ", len(columns)), ", ") + ")",
	}
}

func (in *inserter) add(values ...any) {
	in.args, in.rows = append(in.args, values...), in.rows+1
	if in.rows == insertBatch {
		in.flush()
	}
}

func (in *inserter) flush() {
	if in.err == nil && in.rows > 0 {
		rows := strings.TrimSuffix(strings.Repeat(in.row+", ", in.rows), ", ") // placeholders
		_, in.err = in.db.ExecContext(in.ctx, in.prefix+rows, in.args...)
	}
	in.args, in.rows = in.args[:0], 0
}

// end writes what is left.
func (in *inserter) end() error {
	in.flush()
	if in.err != nil {
		return fmt.Errorf("inserting into %s: %w", in.table, in.err)
	}
	return nil
}
