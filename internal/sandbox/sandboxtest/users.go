package sandboxtest

import (
	"crypto/sha1" //nolint:gosec // Open edX's own way to make up retired names; no secret
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/sandbox/lms"
)

// Some day long ago, with the microseconds that the LMS stores.
var longAgo = time.Date(2015, 3, 4, 5, 6, 7, 123456000, time.UTC)

// AddUser adds an account that is not to be retired.
func (d *Database) AddUser(tb testing.TB, username string) (userID int) {
	tb.Helper()
	return d.insert(tb, lms.Users, row{
		"password":     "!",
		"is_superuser": false,
		"username":     username,
		"first_name":   "",
		"last_name":    "",
		"email":        username + "@example.com",
		"is_staff":     false,
		"is_active":    true,
		"date_joined":  longAgo,
	})
}

// AddRetiringUser adds a user who asked for retirement and whom the pipeline has brought to the state of that name.
func (d *Database) AddRetiringUser(tb testing.TB, username, stateName string) (userID int) {
	tb.Helper()
	userID = d.AddUser(tb, username)
	d.AddRetirementRequest(tb, userID)
	d.AddRetirementStatus(tb, userID, stateName)
	return userID
}

// AddRetirementRequest records the retirement request of a user, who loses the e-mail address at once, as in the LMS.
// Without a status it is what is left of a user whose retirement was complete.
func (d *Database) AddRetirementRequest(tb testing.TB, userID int) {
	tb.Helper()
	d.insert(tb, lms.RetirementRequest, row{"created": longAgo, "modified": longAgo, "user_id": userID})
	email := retired(d.username(tb, userID)) + "@retired.invalid"
	d.Exec(tb, "UPDATE "+d.LMS+"."+lms.Users+" SET email = ? WHERE id = ?", email, userID)
}

// AddRetirementStatus puts a user into the pipeline, in the state of that name.
func (d *Database) AddRetirementStatus(tb testing.TB, userID int, stateName string) {
	tb.Helper()
	username := d.username(tb, userID)
	state := d.stateID(tb, stateName)
	d.insert(tb, lms.RetirementStatus, row{
		"created":           longAgo,
		"modified":          longAgo,
		"original_username": username,
		"original_email":    username + "@example.com",
		"original_name":     "Learner " + username,
		"retired_username":  retired(username),
		"retired_email":     retired(username) + "@retired.invalid",
		"responses":         "",
		"current_state_id":  state,
		"last_state_id":     state,
		"user_id":           userID,
	})
}

// MoveTo moves a user within the pipeline to the state of that name.
func (d *Database) MoveTo(tb testing.TB, userID int, stateName string) {
	tb.Helper()
	result := d.Exec(tb, "UPDATE "+d.LMS+"."+lms.RetirementStatus+
		" SET last_state_id = current_state_id, current_state_id = ? WHERE user_id = ?", d.stateID(tb, stateName), userID)
	if n, err := result.RowsAffected(); n != 1 || err != nil {
		tb.Fatalf("moving user %d to %s: %d rows changed, %v", userID, stateName, n, err)
	}
}

// CancelRetirement takes a user out of retirement as the LMS does: request and status go.
func (d *Database) CancelRetirement(tb testing.TB, userID int) {
	tb.Helper()
	d.Exec(tb, "DELETE FROM "+d.LMS+"."+lms.RetirementStatus+" WHERE user_id = ?", userID)
	d.Exec(tb, "DELETE FROM "+d.LMS+"."+lms.RetirementRequest+" WHERE user_id = ?", userID)
}

// AddState adds a stage of the operator's own at the end of the pipeline.
func (d *Database) AddState(tb testing.TB, stateName string) {
	tb.Helper()
	d.Exec(tb, "INSERT INTO "+d.LMS+"."+lms.RetirementStates+
		" (state_name, state_execution_order, is_dead_end_state, required)"+
		" SELECT ?, MAX(state_execution_order) + 10, 0, 0 FROM "+d.LMS+"."+lms.RetirementStates, stateName)
}

func (d *Database) stateID(tb testing.TB, stateName string) (id int) {
	tb.Helper()
	query := "SELECT id FROM " + d.LMS + "." + lms.RetirementStates + " WHERE state_name = ?"
	if err := d.Root.QueryRowContext(tb.Context(), query, stateName).Scan(&id); err != nil {
		tb.Fatalf("finding the state %q: %v", stateName, err)
	}
	return id
}

func (d *Database) username(tb testing.TB, userID int) (username string) {
	tb.Helper()
	query := "SELECT username FROM " + d.LMS + "." + lms.Users + " WHERE id = ?"
	if err := d.Root.QueryRowContext(tb.Context(), query, userID).Scan(&username); err != nil {
		tb.Fatalf("finding user %d: %v", userID, err)
	}
	return username
}

// retired is a name of the form that the LMS gives to retired users.
func retired(username string) string {
	sum := sha1.Sum([]byte(username)) //nolint:gosec // see the import
	return "retired__user_" + hex.EncodeToString(sum[:])
}

// row is a row to insert, by column.
type row map[string]any

// insert gives every column that the row names and returns the new id.
func (d *Database) insert(tb testing.TB, table string, r row) (id int) {
	tb.Helper()
	columns := slices.Sorted(maps.Keys(r))
	values := make([]any, len(columns))
	for i, column := range columns {
		values[i] = r[column]
	}
	statement := "INSERT INTO " + d.LMS + "." + table + " (`" + strings.Join(columns, "`, `") + "`) VALUES (?" +
		strings.Repeat(", ?", len(columns)-1) + ")"
	last, err := d.Exec(tb, statement, values...).LastInsertId()
	if err != nil {
		tb.Fatalf("inserting into %s: %v", table, err)
	}
	return int(last)
}
