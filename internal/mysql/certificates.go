package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/certpurge/certpurge/internal/purge"
)

// tables are the quoted, qualified names of the LMS tables (upstream migrations of the apps certificates and user_api).
type tables struct {
	users, requests, statuses, states, certificates, history, arguments string
}

func newTables(database string) tables {
	name := func(table string) string { return "`" + strings.ReplaceAll(database, "`", "``") + "`.`" + table + "`" }
	return tables{
		users:        name("auth_user"),
		requests:     name("user_api_userretirementrequest"),
		statuses:     name("user_api_userretirementstatus"),
		states:       name("user_api_retirementstate"),
		certificates: name("certificates_generatedcertificate"),
		history:      name("certificates_historicalgeneratedcertificate"),
		// cut to 64 characters by upstream
		arguments: name("certificates_purgereferencestopdfcertificatescommandconfigur95fa"),
	}
}

// hasReference is true for rows that hold a reference. Both columns are compared under their own collation.
const hasReference = "(download_uuid <> '' OR download_url <> '')"

// exact reads a text column of any character set so that it comes out as it is stored and can stand in one UNION with
// columns of other collations.
func exact(column string) string { return "CONVERT(" + column + " USING utf8mb4) COLLATE utf8mb4_bin" }

// retirement is the SELECT of the eligibility of users, chosen by "= ?" or "IN ?": no row for a user that the LMS does
// not have. Its columns are those of references, so that a UNION can have both: row_id is 1 if there is a retirement
// request, and a is the state.
func (t tables) retirement(which string) string {
	return "SELECT 'user' AS kind, IF(r.id IS NULL, 0, 1) AS row_id, 0 AS certificate_id, COALESCE(" +
		exact("t.state_name") + ", IF(s.id IS NULL, '', '" + purge.StateUnknown +
		"')) AS a, '' AS b, '' AS c, u.id AS owner" +
		" FROM " + t.users + " u LEFT JOIN " + t.requests + " r ON r.user_id = u.id" +
		" LEFT JOIN " + t.statuses + " s ON s.user_id = u.id LEFT JOIN " + t.states +
		" t ON t.id = s.current_state_id WHERE u.id " + which
}

// user is retirement together with the references. In descending order the kinds are user, live, history; MySQL takes
// no expression to order a UNION.
func (t tables) user(which string) string {
	texts := exact("download_uuid") + ", " + exact("verify_uuid") + ", " + exact("download_url") + ", user_id"
	return t.retirement(which) +
		" UNION ALL SELECT 'live', id, id, " + texts + " FROM " + t.certificates + " WHERE user_id " + which + " AND " +
		hasReference +
		" UNION ALL SELECT 'history', history_id, id, " + texts + " FROM " + t.history + " WHERE user_id " + which + " AND " +
		hasReference +
		" ORDER BY kind DESC, row_id"
}

// User reads eligibility and references in one round trip.
func (s *Store) User(ctx context.Context, id purge.UserID) (purge.User, error) {
	var q script // statements that are sent together, see script.go
	q.add(s.tables.user("= ?"), id, id, id)
	users := map[purge.UserID]purge.User{}
	err := s.run(ctx, &q, func(rows *sql.Rows) error { return scanUser(rows, users) })
	return users[id], classify("reading the LMS database", err)
}

// Users reads eligibility and references of several users, each as User does. Those that the LMS does not have are
// missing.
func (s *Store) Users(ctx context.Context, ids []purge.UserID) (map[purge.UserID]purge.User, error) {
	users := make(map[purge.UserID]purge.User, len(ids))
	if len(ids) == 0 {
		return users, nil
	}
	rows, err := s.gorm.WithContext(ctx).Raw(s.tables.user("IN ?"), ids, ids, ids).Rows()
	if err != nil {
		return nil, classify("reading the LMS database", err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scanUser(rows, users); err != nil {
			return nil, classify("reading the LMS database", err)
		}
	}
	return users, classify("reading the LMS database", rows.Err())
}

// scanUser reads one row of the users' UNION into the user that it belongs to.
func scanUser(rows *sql.Rows, users map[purge.UserID]purge.User) error {
	var kind string
	var owner purge.UserID
	var ref purge.Reference
	if err := rows.Scan(&kind, &ref.RowID, &ref.CertificateID, &ref.DownloadUUID, &ref.VerifyUUID, &ref.DownloadURL,
		&owner); err != nil {
		return err
	}
	user := users[owner]
	if kind == "user" {
		user.Retirement = purge.Retirement{UserExists: true, Requested: ref.RowID == 1, State: ref.DownloadUUID}
	} else {
		ref.Table = purge.Table(kind)
		user.References = append(user.References, ref)
	}
	users[owner] = user
	return nil
}

// guard is the condition on one certificate's references: these rows, and only while they still hold exactly what was
// read. verify_uuid is part of it: the files were named from it, too.
func (t tables) guard(user purge.UserID, c purge.Clearing) (table, condition string, args []any) {
	table, id := t.certificates, "id"
	if c.Table == purge.History {
		table, id = t.history, "history_id"
	}
	unchanged, refs := unchangedRows(id, c.References)
	return table, "user_id = ? AND id = ? AND " + unchanged, append([]any{user, c.CertificateID}, refs...)
}

// unchangedRows is true for rows that still hold exactly what was read. id is the column with the row's id.
func unchangedRows(id string, refs []purge.Reference) (condition string, args []any) {
	guards := make([]string, 0, len(refs))
	for _, ref := range refs {
		guards = append(guards, "("+id+" = ? AND CAST("+exact("download_uuid")+" AS BINARY) = CAST(? AS BINARY)"+
			" AND CAST("+exact("download_url")+" AS BINARY) = CAST(? AS BINARY)"+
			" AND CAST("+exact("verify_uuid")+" AS BINARY) = CAST(? AS BINARY))")
		args = append(args, ref.RowID, ref.DownloadUUID, ref.DownloadURL, ref.VerifyUUID)
	}
	return "(" + strings.Join(guards, " OR ") + ")", args
}

// counting are the tables whose references count as left.
func (s *Store) counting() []string {
	if s.clear {
		return []string{s.tables.certificates, s.tables.history}
	}
	return []string{s.tables.certificates}
}

// noReferenceLeft is a condition on one user, or, if that is not 0, on one certificate of the user. References to keep
// do not count, as long as they are unchanged.
func (s *Store) noReferenceLeft(user purge.UserID, certificate purge.CertificateID,
	keep []purge.Reference,
) (condition string, args []any) {
	which, scope := "user_id = ?", []any{user}
	if certificate != 0 {
		which, scope = "user_id = ? AND id = ?", []any{user, certificate}
	}
	var none []string
	for _, table := range s.counting() {
		id, kept := "id", purge.Live
		if table == s.tables.history {
			id, kept = "history_id", purge.History
		}
		exception := ""
		args = append(args, scope...)
		refs := slices.DeleteFunc(slices.Clone(keep), func(ref purge.Reference) bool { return ref.Table != kept })
		if len(refs) > 0 {
			unchanged, guards := unchangedRows(id, refs)
			exception, args = " AND NOT "+unchanged, append(args, guards...)
		}
		none = append(none, "NOT EXISTS (SELECT 1 FROM "+table+" WHERE "+which+" AND "+hasReference+exception+")")
	}
	return strings.Join(none, " AND "), args
}

// withReferences counts the references that count as left, of those of the users that have any.
func (s *Store) withReferences(ctx context.Context, users []purge.UserID) (map[purge.UserID]int, error) {
	found := map[purge.UserID]int{}
	for _, table := range s.counting() {
		references, err := s.referring(ctx, table, users)
		if err != nil {
			return nil, fmt.Errorf("looking for references: %w", err)
		}
		for id, n := range references {
			found[id] += n
		}
	}
	return found, nil
}
