package mysql

import (
	"context"
	"database/sql"
	"slices"

	"github.com/certpurge/certpurge/internal/purge"
)

// tables are the quoted, qualified names of the LMS tables (upstream migrations of the apps certificates and user_api).
type tables struct {
	users, requests, statuses, states, certificates, history, arguments string
}

func newTables(database string) tables {
	name := func(table string) string { return quoteName(database) + ".`" + table + "`" }
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
	return t.retirement(which) + " UNION ALL " + t.references(which, true) + " ORDER BY kind DESC, row_id"
}

// references is the part of user that selects references only, of the live table and, if counted, of the history.
func (t tables) references(which string, history bool) string {
	texts := exact("download_uuid") + ", " + exact("verify_uuid") + ", " + exact("download_url") + ", user_id"
	text := "SELECT 'live' AS kind, id AS row_id, id AS certificate_id, " + texts + " FROM " + t.certificates +
		" WHERE user_id " + which + " AND " + hasReference
	if history {
		text += " UNION ALL SELECT 'history', history_id, id, " + texts + " FROM " + t.history + " WHERE user_id " + which +
			" AND " + hasReference
	}
	return text
}

// times repeats arguments for each table whose references count as left.
func (s *Store) times(args []any) []any { return slices.Repeat(args, len(s.counting())) }

// User reads eligibility and references in one round trip.
func (s *Store) User(ctx context.Context, id purge.UserID) (purge.User, error) {
	return s.batches.user.Do(ctx, id)
}

func (s *Store) userAll(ctx context.Context, ids []purge.UserID, _ bool) ([]purge.Answer[purge.User], error) {
	users, err := s.Users(ctx, ids)
	answers := make([]purge.Answer[purge.User], len(ids))
	for i, id := range ids {
		answers[i].Value = users[id]
	}
	return answers, err
}

// Users reads eligibility and references of several users, each as User does. Those that the LMS does not have are
// missing.
func (s *Store) Users(ctx context.Context, ids []purge.UserID) (map[purge.UserID]purge.User, error) {
	users := make(map[purge.UserID]purge.User, len(ids))
	if len(ids) == 0 {
		return users, nil
	}
	err := each(ctx, s.sql, func(rows *sql.Rows) error { return scanUser(rows, users) },
		s.tables.user("IN ("+tuples("?", len(ids))+")"), slices.Repeat(anys(ids), 3)...)
	return users, classify("reading the LMS database", err)
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

// counting are the tables whose references count as left.
func (s *Store) counting() []string {
	if s.clear {
		return []string{s.tables.certificates, s.tables.history}
	}
	return []string{s.tables.certificates}
}

// withReferences counts the references that count as left, of those of the users that have any.
func (s *Store) withReferences(ctx context.Context, users []purge.UserID) (map[purge.UserID]int, error) {
	found := map[purge.UserID]int{}
	for _, table := range s.counting() {
		references, err := s.referring(ctx, table, users)
		if err != nil {
			return nil, err
		}
		for id, n := range references {
			found[id] += n
		}
	}
	return found, nil
}
