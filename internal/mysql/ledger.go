package mysql

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// requestColumns are what a purge needs to know of its request, in the order of requestFields. The column attempts is
// Attempt.Fence, attempts - reopened (attempts_made) is Attempt.Number, and unfinished is Attempt.Lapsed.
const requestColumns = "state, reason, failures, unfinished, opened_at, certificates, objects_erased, objects_absent," +
	" objects_soft_deleted, directories_missing, references_cleared"

func requestFields(a *purge.Attempt) []any {
	return []any{
		&a.State, &a.Reason, &a.Failures, &a.Lapsed, &a.OpenedAt, &a.Counts.Certificates, &a.Counts.ObjectsErased,
		&a.Counts.ObjectsAbsent, &a.Counts.ObjectsSoftDeleted, &a.Counts.DirectoriesMissing, &a.Counts.ReferencesCleared,
	}
}

// lease is the end of a lease that begins now, by the server's clock, which all workers share.
var lease = fmt.Sprintf("UTC_TIMESTAMP(6) + INTERVAL %d SECOND", int(purge.LeaseDuration.Seconds()))

// Begin claims the task's request, by its primary key: no other row is locked. The column attempts is the fence.
// LAST_INSERT_ID(n) hands its new value to this connection alone, so two workers that claim at the same time never
// share one. The columns are set from left to right: whether the attempt before has lapsed is tested before anything
// changes. ROW_COUNT() is safe here, unlike in addClearing: only the answer uses it, and a dead worker reads no answer.
func (s *Store) Begin(ctx context.Context, task purge.Task) (purge.Attempt, error) {
	var q script
	now := s.now()
	q.add("UPDATE requests SET unfinished = unfinished + (state = 'running' AND COALESCE(leased_until < "+
		"UTC_TIMESTAMP(6), 0)),"+
		" state = 'running', attempts = LAST_INSERT_ID(attempts + 1), leased_until = "+lease+", not_before = NULL,"+
		" started_at = COALESCE(IF(started_at < opened_at, NULL, started_at), GREATEST(opened_at, CAST(? AS DATETIME(6)))),"+
		" updated_at = ? WHERE id = ? AND user_id = ? AND state IN ('queued', 'running')", now, now, task.Request, task.User)
	q.add("SELECT IF(ROW_COUNT() > 0, LAST_INSERT_ID(), 0), IF(ROW_COUNT() > 0, LAST_INSERT_ID() - reopened, 0), "+
		"certificate_id,"+
		" accept_missing_by, accept_shared_by, "+requestColumns+" FROM requests WHERE id = ? AND user_id = ?", task.Request,
		task.User)
	attempt, found := purge.Attempt{Task: task}, false
	err := s.run(ctx, &q, func(rows *sql.Rows) error {
		found = true
		claim := []any{&attempt.Fence, &attempt.Number, &attempt.Certificate, &attempt.AcceptMissing, &attempt.AcceptShared}
		return rows.Scan(append(claim, requestFields(&attempt)...)...)
	})
	switch {
	case err != nil:
		return purge.Attempt{}, classify("claiming in the ledger", err)
	case !found:
		return purge.Attempt{}, purge.ErrUnknownRequest
	case attempt.Fence == 0 && !attempt.State.Ended():
		return purge.Attempt{}, &purge.Error{Class: purge.Transient, Text: "the request changed while it was being claimed"}
	}
	return attempt, nil
}

// Extend makes the lease of an attempt last from now on.
func (s *Store) Extend(ctx context.Context, attempt purge.Attempt) error {
	text := "UPDATE requests SET leased_until = " + lease + //nolint:gosec // a text of our own
		" WHERE id = ? AND attempts = ? AND state = 'running'"
	_, err := s.sql.ExecContext(ctx, text, attempt.Request, attempt.Fence)
	return classify("extending the lease of an attempt", err)
}

// emptied are the outcomes of files that were about to be deleted, kept those of files that something protected:
// purge.Outcome.Emptied and purge.Outcome.Kept.
const (
	emptied = "('listed', 'erased', 'soft_deleted', 'not_proven')"
	kept    = "('held', 'retained')"
)

// Intend writes the intents, then reads the eligibility and which of the empty directories held files before, in this
// order, in one script.
func (s *Store) Intend(
	ctx context.Context, attempt purge.Attempt, intents []purge.Evidence, empty []purge.Directory,
) (purge.Intended, error) {
	var q script
	// As Record does: a server with binlog_format=STATEMENT refuses writes at this level, here before the first delete.
	q.add("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
	s.addObjects(&q, attempt, intents, time.Time{})
	text, args := s.tables.retirement("= ?"), []any{attempt.User}
	if len(empty) > 0 {
		text, args = text+" UNION ALL "+emptiedDirectories, append(args, attempt.User)
	}
	known := map[purge.Directory]bool{}
	q.add(text, args...)
	var intended purge.Intended
	err := s.run(ctx, &q, func(rows *sql.Rows) error {
		var kind, a, b, c string
		var row, certificate, owner int64
		if err := rows.Scan(&kind, &row, &certificate, &a, &b, &c, &owner); err != nil {
			return err
		}
		if kind == "emptied" {
			known[purge.Directory{Bucket: a, Prefix: b}] = true
		} else {
			intended.Retirement = purge.Retirement{UserExists: true, Requested: row == 1, State: a}
		}
		return nil
	})
	intended.Emptied = slices.DeleteFunc(slices.Clone(empty), func(dir purge.Directory) bool { return !known[dir] })
	return intended, classify("writing down what will be deleted", err)
}

// emptiedDirectories selects the directories that were emptied for a user, in the shape of tables.retirement: all that
// ever held a file, as a list of the empty ones could be too large for one statement.
var emptiedDirectories = "SELECT 'emptied', 0, 0, " + exact("bucket") + ", " + exact("directory") + ", '', user_id" +
	" FROM evidence_objects WHERE user_id = ? GROUP BY bucket, directory, user_id" +
	" HAVING SUM(outcome IN " + emptied + ") > 0 AND SUM(outcome IN " + kept + ") = 0"

// Emptied returns those of the directories that were emptied for the user, as Intend does, and writes nothing.
func (s *Store) Emptied(ctx context.Context, user purge.UserID, dirs []purge.Directory) ([]purge.Directory, error) {
	known := map[purge.Directory]bool{}
	err := each(ctx, s.sql, func(rows *sql.Rows) error {
		var kind, a, b, c string
		var dir purge.Directory
		var owner purge.UserID
		if err := rows.Scan(&kind, &a, &b, &dir.Bucket, &dir.Prefix, &c, &owner); err != nil {
			return err
		}
		known[dir] = true
		return nil
	}, emptiedDirectories, user)
	return slices.DeleteFunc(slices.Clone(dirs), func(dir purge.Directory) bool { return !known[dir] }),
		classify("reading what was erased", err)
}

// directoryTuples is the list for a condition (bucket, directory) IN (...).
func directoryTuples(dirs []purge.Directory) (text string, args []any) {
	for _, dir := range dirs {
		args = append(args, dir.Bucket, dir.Prefix)
	}
	return tuples("(?, ?)", len(dirs)), args
}

// ErasedBelow reports whether the latest evidence shows that objects were erased below a directory, for any user. It
// reads at most 10,000 rows.
func (s *Store) ErasedBelow(ctx context.Context, dir purge.Directory) (bool, error) {
	var found bool
	err := s.sql.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM (SELECT bucket, directory, outcome FROM "+
		"evidence_objects"+
		" ORDER BY id DESC LIMIT 10000) latest WHERE outcome = 'erased' AND bucket = ? AND LEFT(directory, "+
		"CHAR_LENGTH(?)) = ?"+
		" AND CHAR_LENGTH(directory) = CHAR_LENGTH(?) + 33)", // an id of 32 digits and a slash
		dir.Bucket, dir.Prefix, dir.Prefix, dir.Prefix).Scan(&found)
	return found, classify("reading what was erased", err)
}

// Record writes a report in one transaction, and one packet where the server takes it. Under READ COMMITTED, because
// the gap locks of the default isolation would let the purges of neighbouring users block each other.
func (s *Store) Record(ctx context.Context, attempt purge.Attempt, report purge.Report) (purge.Recorded, error) {
	var q script
	now := s.now()
	q.add("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
	q.add("START TRANSACTION")
	for _, c := range report.Clear {
		s.addClearing(&q, attempt, c, now)
	}
	s.addOutcomes(&q, attempt, report, now)
	s.addEnd(&q, attempt, report, now)
	q.add("COMMIT")
	q.add("SELECT "+requestColumns+" FROM requests WHERE id = ?", attempt.Request)
	var after purge.Attempt
	found := false
	err := s.run(ctx, &q, func(rows *sql.Rows) error {
		found = true
		return rows.Scan(requestFields(&after)...)
	})
	if err == nil && !found {
		err = purge.ErrUnknownRequest
	}
	return purge.Recorded{State: after.State, Reason: after.Reason, Counts: after.Counts},
		classify("writing to the ledger", err)
}

// addClearing clears the references of one certificate and counts them into the evidence. The rows are locked first, by
// an UPDATE that changes nothing, then counted, then cleared. ROW_COUNT() would be simpler, but cannot be trusted with
// evidence: when a worker dies, the server goes through the rest of its script, COMMIT included, and after the answer
// that it could not send, ROW_COUNT() is -1 whatever was changed.
func (s *Store) addClearing(q *script, attempt purge.Attempt, c purge.Clearing, now time.Time) {
	table, guard, guarded := s.tables.guard(attempt.User, c)
	q.add("UPDATE "+table+" SET download_uuid = download_uuid WHERE "+guard, guarded...)
	q.add("INSERT INTO evidence (request_id, user_id, certificate_id, source_table, attempt, references_cleared, "+
		"cleared_at)"+
		" SELECT ?, ?, ?, ?, ?, COUNT(*), ? FROM "+table+" WHERE "+guard+" HAVING COUNT(*) > 0 ON DUPLICATE KEY UPDATE"+
		" references_cleared = references_cleared + VALUES(references_cleared), attempt = VALUES(attempt), cleared_at = "+
		"VALUES(cleared_at)",
		append([]any{attempt.Request, attempt.User, c.CertificateID, c.Table, attempt.Number, now}, guarded...)...)
	q.add("UPDATE "+table+" SET download_uuid = '', download_url = '' WHERE "+guard, guarded...)
}

// addOutcomes settles the evidence of objects. In a directory that was shown empty, everything that was ever listed for
// this user is gone, also what an earlier attempt or request deleted and did not live to tell; but for what can still
// be restored.
func (s *Store) addOutcomes(q *script, attempt purge.Attempt, report purge.Report, now time.Time) {
	scope, whose := "user_id", any(attempt.User)
	if attempt.AboutOrphans() { // no user; and the evidence of all orphans is not one thing
		scope, whose = "request_id", attempt.Request
	}
	var seen []purge.Evidence
	for _, e := range report.Evidence {
		if e.Outcome != purge.Absent {
			seen = append(seen, e)
			continue
		}
		// A directory that was emptied for this user before is not one that held nothing.
		q.add("INSERT INTO evidence_objects ("+objectColumns+") SELECT "+objectPlaceholders+" FROM DUAL WHERE NOT EXISTS"+
			" (SELECT 1 FROM evidence_objects e WHERE e."+scope+" = ? AND e.bucket = ? AND e.directory = ?) ON DUPLICATE KEY "+
			"UPDATE attempt = VALUES(attempt)",
			append(objectArgs(attempt, e, now, now), whose, e.Generation.Directory.Bucket, e.Generation.Directory.Prefix)...)
	}
	s.addObjects(q, attempt, seen, now)
	for proven := range slices.Chunk(report.Proven, rowsPerStatement) {
		names, directories := directoryTuples(proven)
		q.add("UPDATE evidence_objects SET outcome = 'erased', until = NULL, attempt = ?, settled_at = ? WHERE "+scope+" = ?"+
			" AND outcome <> 'erased' AND outcome IN "+emptied+" AND NOT (outcome = 'soft_deleted' AND until > ?)"+
			" AND (bucket, directory) IN ("+names+")",
			append([]any{attempt.Number, now, whose, now}, directories...)...)
	}
	if report.State == purge.Done && attempt.Counts.DirectoriesMissing > 0 && len(report.Clear) > 0 {
		// What was missing of a certificate whose references go now was found somewhere else, or has been accepted.
		ids := []any{attempt.Request}
		for _, c := range report.Clear {
			ids = append(ids, c.CertificateID)
		}
		q.add("UPDATE evidence_objects SET outcome = 'absent' WHERE request_id = ? AND outcome = 'missing'"+
			" AND certificate_id IN ("+tuples("?", len(report.Clear))+")", ids...)
	}
}

// endedAs keeps what the CHECK of the table compares an end with: only the account of the worker may write it.
const endedAs = "ended_as = IF(state IN ('queued', 'running'), ended_as, CONCAT(state, ':', reason))"

// addEnd moves the request. Only the newest attempt may end it as refused or failed or queue it again; done is true
// from any attempt, once the LMS database shows no reference, also if another attempt has failed the request meanwhile.
func (s *Store) addEnd(q *script, attempt purge.Attempt, report purge.Report, now time.Time) {
	var finished any
	accepts := ""
	if report.State.Ended() {
		finished = now
		accepts = " accept_missing_by = ''," // for one run; the evidence keeps who gave it
	}
	counted := 0
	if report.Counted {
		counted = 1
	}
	text := "UPDATE requests SET state = ?, reason = ?, detail = ?, failures = failures + ?, unfinished = 0, " +
		"not_before = ?," +
		" certificates = GREATEST(certificates, ?), references_kept = ?," + accepts + " finished_at = ?, updated_at = ?, " +
		endedAs + " WHERE id = ?"
	args := []any{
		report.State, report.Reason, report.Detail, counted, nullTime(report.NotBefore), report.Certificates,
		len(report.Keep),
		finished, now, attempt.Request,
	}
	if report.State == purge.Done {
		condition, scope := s.noReferenceLeft(attempt.User, attempt.Certificate, report.Keep)
		text, args = text+" AND state IN ('queued', 'running', 'failed') AND "+condition, append(args, scope...)
	} else {
		text, args = text+" AND state IN ('queued', 'running') AND attempts = ?", append(args, attempt.Fence)
		switch report.Reason { // unless it was accepted meanwhile: then the request stays open
		case purge.ReasonFilesMissing:
			text, args = text+" AND accept_missing_by = ?", append(args, attempt.AcceptMissing)
		case purge.ReasonShared:
			text, args = text+" AND accept_shared_by = ?", append(args, attempt.AcceptShared)
		default:
		}
	}
	q.add(text, args...)
	q.add("UPDATE requests SET "+figures+" WHERE id = ?", attempt.Request)
	// the evidence of other requests of the user may have been settled with it, mostly of none
	if len(report.Proven) > 0 && !attempt.AboutOrphans() {
		q.add("UPDATE (SELECT DISTINCT request_id AS other FROM evidence_objects WHERE user_id = ? AND settled_at = ?"+
			" AND request_id <> ?) settled STRAIGHT_JOIN requests ON requests.id = settled.other SET "+figures, attempt.User,
			now, attempt.Request)
	}
}

// figures counts what the evidence of a request says, so that the request can never say anything else. They do not
// depend on each other, because an UPDATE of several tables sets its columns in any order.
var figures = "certificates = GREATEST(certificates, " + count("COUNT(DISTINCT NULLIF(o.certificate_id, 0))", "") +
	")," +
	" objects_erased = " + count("COUNT(*)", "= 'erased'") + "," +
	" objects_absent = " + count("COUNT(*)", "= 'absent'") + "," +
	" objects_soft_deleted = " + count("COUNT(*)", "= 'soft_deleted'") + "," +
	" recoverable_until = " + count("MAX(o.until)", "= 'soft_deleted'") + "," +
	" directories_missing = " + missing + ", references_cleared = " + cleared + "," +
	" reason = " + judged + ", ended_as = IF(state IN ('queued', 'running'), ended_as, CONCAT(state, ':', " + judged + "))"

const cleared = "(SELECT COALESCE(SUM(e.references_cleared), 0) FROM evidence e WHERE e.request_id = requests.id)"

var (
	missing = count("COUNT(*)", "IN ('missing', 'missing_accepted')")
	// judged is the reason: whatever the last attempt met, all attempts have purged.
	judged = "IF(state <> 'done', reason, IF(" + missing + " > 0, 'files_missing', IF(reason = 'nothing_to_purge' AND " +
		cleared +
		" > 0, '', reason)))"
)

// count is a subquery over a request's evidence of objects.
func count(what, outcome string) string {
	text := "(SELECT " + what + " FROM evidence_objects o WHERE o.request_id = requests.id"
	if outcome != "" {
		text += " AND o.outcome " + outcome
	}
	return text + ")"
}

const (
	objectColumns = "request_id, user_id, certificate_id, source_table, attempt, bucket, directory, name, " +
		"generation, size," +
		" cache_control, outcome, until, accepted_by, listed_at, settled_at, object_key"
	objectPlaceholders = "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, UNHEX(?)"
)

// addObjects writes evidence rows; a generation that the request has met before keeps its row. Erased is final, because
// a generation never comes back; only that it can be restored may still be found out. (The columns are set from left to
// right, so the outcome, on which the others depend, comes last.)
func (s *Store) addObjects(q *script, attempt purge.Attempt, all []purge.Evidence, settled time.Time) {
	now := s.now()
	for some := range slices.Chunk(all, rowsPerStatement) {
		args := make([]any, 0, 17*len(some))
		for _, e := range some {
			args = append(args, objectArgs(attempt, e, now, settled)...)
		}
		q.add("INSERT INTO evidence_objects ("+objectColumns+") VALUES "+tuples("("+objectPlaceholders+")", len(some))+
			" ON DUPLICATE KEY UPDATE until = "+unlessFinal("until")+", attempt = "+unlessFinal("attempt")+
			", settled_at = "+unlessFinal("settled_at")+", accepted_by = "+unlessFinal("accepted_by")+
			", outcome = "+unlessFinal("outcome"), args...)
	}
}

// rowsPerStatement keeps one statement far below any server's max_allowed_packet, however many objects a user has.
const rowsPerStatement = 32

func unlessFinal(column string) string {
	return "IF(outcome = 'erased' AND VALUES(outcome) <> 'soft_deleted', " + column + ", VALUES(" + column + "))"
}

func objectArgs(attempt purge.Attempt, e purge.Evidence, listed, settled time.Time) []any {
	g := e.Generation
	key := sha256.Sum256([]byte(g.Directory.Bucket + "\x00" + g.Name + "\x00" + strconv.FormatInt(g.Number, 10)))
	return []any{
		attempt.Request, attempt.User, e.CertificateID, e.Table, attempt.Number, g.Directory.Bucket, g.Directory.Prefix,
		g.Name,
		g.Number, g.Size, cut(g.CacheControl, 255), e.Outcome, nullTime(e.Until), cut(e.AcceptedBy, 128), listed,
		nullTime(settled), hex.EncodeToString(key[:]),
	}
}

func tuples(one string, n int) string { return strings.TrimSuffix(strings.Repeat(one+", ", n), ", ") }

func nullTime(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC()
}

// cut shortens a text to at most n bytes of valid UTF-8.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
