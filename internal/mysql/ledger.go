package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	driversql "github.com/go-sql-driver/mysql"

	"github.com/certpurge/certpurge/internal/evidence"
	"github.com/certpurge/certpurge/internal/purge"
)

// An attempt takes four steps here: claim, read, intend and record. The calls of a process that come at the same time
// share each of them: one script for all, in one transaction where it writes. batches gathers the calls.
type batches struct {
	begin   *purge.Batcher[purge.Task, purge.Attempt]
	user    *purge.Batcher[purge.UserID, purge.User]
	sharing *purge.Batcher[sharingCall, []purge.Shared]
	intend  *purge.Batcher[intendCall, purge.Intended]
	record  *purge.Batcher[recordCall, purge.Recorded]
}

// batchLimit bounds what a batch of several calls does; each statement has its own, shorter bound.
const batchLimit = time.Minute

// newBatches makes the batchers. They share a semaphore: calls for one gather while another runs.
func newBatches(s *Store, size int) batches {
	one := make(chan struct{}, 1)
	return batches{
		begin:   purge.NewBatcher(batchOptions[purge.Task](size, one), s.beginAll),
		user:    purge.NewBatcher(batchOptions[purge.UserID](size, one), s.userAll),
		sharing: purge.NewBatcher(batchOptions[sharingCall](size, one), s.sharingAll),
		intend:  purge.NewBatcher(batchOptions[intendCall](size, one), s.intendAll),
		record:  purge.NewBatcher(batchOptions[recordCall](size, one), s.recordAll),
	}
}

func batchOptions[T any](size int, semaphore chan struct{}) purge.BatchOptions[T] {
	if size <= 1 {
		return purge.BatchOptions[T]{Max: 1, Workers: math.MaxInt} // every call by itself, at once
	}
	return purge.BatchOptions[T]{Max: size, Workers: 1, Semaphore: semaphore, Limit: batchLimit}
}

// readCommitted is for the transaction that follows: the gap locks of the default isolation would let the purges of
// neighbouring users block each other.
const readCommitted = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"

// lease is the end of a lease that begins now, by the server's clock, which all workers share.
var lease = fmt.Sprintf("UTC_TIMESTAMP(6) + INTERVAL %d SECOND", int(purge.LeaseDuration.Seconds()))

// Begin claims the task's request.
func (s *Store) Begin(ctx context.Context, task purge.Task) (purge.Attempt, error) {
	return s.batches.begin.Do(ctx, task)
}

// claimColumns are what a claim reads, with the end of the request's evidence.
const claimColumns = "id, certificate_id, state, reason, attempts, reopened, failures," +
	" unfinished + (state = 'running' AND COALESCE(leased_until < UTC_TIMESTAMP(6), 0)), opened_at, certificates," +
	" objects_erased, objects_absent, objects_soft_deleted, directories_missing, references_cleared," +
	" accept_missing_by, accept_shared_by, source, requested_by, requested_at, ticket, reopened_by," +
	" (SELECT " + chainTail + " FROM evidence_documents d WHERE d.request_id = requests.id" +
	" ORDER BY number DESC LIMIT 1)"

// beginAll claims requests by their primary keys, whose rows are locked in this order: no other row is. The column
// attempts is the fence. Then it reads the users, in the same round trip, unless it is run alone: if it was the reading
// that failed, the attempt has to say so in the ledger.
func (s *Store) beginAll(ctx context.Context, tasks []purge.Task, alone bool) ([]purge.Answer[purge.Attempt], error) {
	answers := make([]purge.Answer[purge.Attempt], len(tasks))
	index := map[purge.RequestID]int{}
	var ids, pairs []any
	for i, task := range tasks {
		if _, twice := index[task.Request]; twice {
			answers[i].Err = purge.ErrAlone
			continue
		}
		index[task.Request] = i
		ids, pairs = append(ids, task.Request), append(pairs, task.Request, task.User)
		answers[i].Err = purge.ErrUnknownRequest
	}
	// The pairs alone would not be looked up by the primary key.
	which := "id IN (" + tuples("?", len(ids)) + ") AND (id, user_id) IN (" + tuples("(?, ?)", len(ids)) + ")"
	now := s.now()
	var q script
	q.add(readCommitted)
	q.add("START TRANSACTION")
	q.add("SELECT "+claimColumns+" FROM requests WHERE "+which+" ORDER BY id FOR UPDATE", slices.Concat(ids, pairs)...)
	// The columns are set from left to right: whether the attempt before has lapsed is tested before anything changes.
	q.add("UPDATE requests SET unfinished = unfinished + (state = 'running' AND COALESCE(leased_until < "+
		"UTC_TIMESTAMP(6), 0)), state = 'running', attempts = attempts + 1, leased_until = "+lease+", not_before = NULL,"+
		" started_at = COALESCE(IF(started_at < opened_at, NULL, started_at), GREATEST(opened_at, CAST(? AS DATETIME(6)))),"+
		" updated_at = ? WHERE "+which+" AND state IN ('queued', 'running')",
		slices.Concat([]any{now, now}, ids, pairs)...)
	q.add("COMMIT")
	scans := []func(*sql.Rows) error{func(rows *sql.Rows) error {
		a, err := scanClaim(rows, now)
		if i, ok := index[a.Request]; ok && err == nil {
			a.User, a.Trace = tasks[i].User, tasks[i].Trace
			answers[i] = purge.Answer[purge.Attempt]{Value: a}
		}
		return err
	}}
	users := map[purge.UserID]purge.User{}
	if !alone {
		which, args := "IN ("+tuples("?", len(tasks))+")", make([]any, len(tasks))
		for i, task := range tasks {
			args[i] = task.User
		}
		q.add(s.tables.user(which), slices.Repeat(args, 3)...)
		scans = append(scans, func(rows *sql.Rows) error { return scanUser(rows, users) })
	}
	err := classify("claiming in the ledger", s.run(ctx, &q, scans...))
	if err != nil && !alone && purge.ClassOf(err) == purge.Misconfigured { // perhaps only the reading
		return allAlone[purge.Attempt](len(tasks)), nil
	}
	for i := range answers {
		if a := &answers[i].Value; !alone && a.Request != 0 {
			user := users[a.User]
			a.Read = &user
		}
	}
	return answers, err
}

// scanClaim reads a row of claimColumns as it is before the claim, and returns the attempt that the claim makes of it.
func scanClaim(rows *sql.Rows, now time.Time) (a purge.Attempt, err error) {
	var reopened int
	var tail sql.NullString
	err = rows.Scan(&a.Request, &a.Certificate, &a.State, &a.Reason, &a.Fence, &reopened, &a.Failures, &a.Lapsed,
		&a.OpenedAt, &a.Counts.Certificates, &a.Counts.ObjectsErased, &a.Counts.ObjectsAbsent,
		&a.Counts.ObjectsSoftDeleted, &a.Counts.DirectoriesMissing, &a.Counts.ReferencesCleared, &a.AcceptMissing,
		&a.AcceptShared, &a.Origin.Source, &a.Origin.RequestedBy, &a.Origin.RequestedAt, &a.Origin.Ticket,
		&a.Origin.ReopenedBy, &tail)
	if err != nil || a.State.Ended() {
		a.Fence, a.Lapsed = 0, 0
		return a, err
	}
	a.State, a.Fence, a.Began = purge.Running, a.Fence+1, now
	a.Number = a.Fence - reopened
	a.Chain, err = parseChain(tail)
	return a, err
}

// Extend makes the lease of an attempt last from now on.
func (s *Store) Extend(ctx context.Context, attempt purge.Attempt) error {
	text := "UPDATE requests SET leased_until = " + lease + //nolint:gosec // a text of our own
		" WHERE id = ? AND attempts = ? AND state = 'running'"
	_, err := s.sql.ExecContext(ctx, text, attempt.Request, attempt.Fence)
	return classify("extending the lease of an attempt", err)
}

type intendCall struct {
	attempt purge.Attempt
	intents []purge.Evidence
	empty   []purge.Directory
}

// Intend writes the intents, then reads the eligibility and which of the empty directories held files before, in this
// order.
func (s *Store) Intend(
	ctx context.Context, attempt purge.Attempt, intents []purge.Evidence, empty []purge.Directory,
) (purge.Intended, error) {
	return s.batches.intend.Do(ctx, intendCall{attempt, intents, empty})
}

func (s *Store) intendAll(ctx context.Context, calls []intendCall, alone bool) ([]purge.Answer[purge.Intended],
	error,
) {
	const what = "writing down what will be deleted"
	now := s.now()
	var documents []document
	var users, curious []any
	for _, c := range calls {
		users = append(users, c.attempt.User)
		if len(c.empty) > 0 {
			curious = append(curious, c.attempt.User)
		}
		if len(c.intents) > 0 {
			d := s.Writer.Intents(c.attempt, c.intents, now)
			documents = append(documents, document{Document: d, chain: c.attempt.Chain})
		}
	}
	found := map[purge.UserID]purge.User{}
	all := histories{}
	err := s.onConnection(ctx, func(conn *sql.Conn) error {
		for {
			var q script
			q.add(readCommitted) // a server with binlog_format=STATEMENT refuses it, here before the first delete
			if err := addDocuments(&q, documents, maxDocument(conn)); err != nil {
				return err
			}
			scans := []func(*sql.Rows) error{func(rows *sql.Rows) error { return scanUser(rows, found) }}
			q.add(s.tables.retirement("IN ("+tuples("?", len(users))+")"), users...)
			if len(curious) > 0 {
				scans = append(scans, addHistory(&q, "user_id", curious, all)...)
			}
			err := send(ctx, conn, &q, scans...)
			if !alone || !isDuplicate(err) {
				return err
			}
			// Another attempt at the request has written meanwhile: this one appends to its document.
			if documents[0].chain, err = readChain(ctx, conn, calls[0].attempt.Request); err != nil {
				return err
			}
		}
	})
	if isDuplicate(err) {
		return allAlone[purge.Intended](len(calls)), nil
	}
	if err != nil {
		return nil, classify(what, err)
	}
	answers := make([]purge.Answer[purge.Intended], len(calls))
	for i, c := range calls {
		answers[i].Value.Retirement = found[c.attempt.User].Retirement
		if h := all[c.attempt.User]; h != nil {
			answers[i].Value.Emptied = h.Emptied(c.empty)
		}
	}
	return answers, nil
}

// allAlone answers calls of a batch of which each has to be run by itself.
func allAlone[R any](n int) []purge.Answer[R] {
	return slices.Repeat([]purge.Answer[R]{{Err: purge.ErrAlone}}, n)
}

func isDuplicate(err error) bool {
	e, ok := errors.AsType[*driversql.MySQLError](err)
	return ok && e.Number == erDuplicateEntry
}

// Emptied returns those of the directories that were emptied for the user, as Intend does, and writes nothing.
func (s *Store) Emptied(ctx context.Context, user purge.UserID, dirs []purge.Directory) ([]purge.Directory, error) {
	all := histories{}
	var q script
	err := s.run(ctx, &q, addHistory(&q, "user_id", []any{user}, all)...)
	if err != nil || all[user] == nil {
		return nil, classify("reading what was erased", err)
	}
	return all[user].Emptied(dirs), nil
}

type recordCall struct {
	attempt purge.Attempt
	report  purge.Report
}

// Record writes a report in one transaction.
func (s *Store) Record(ctx context.Context, attempt purge.Attempt, report purge.Report) (purge.Recorded, error) {
	return s.batches.record.Do(ctx, recordCall{attempt, report})
}

// recordAll clears, writes and moves for several attempts in one transaction. The rows of the LMS are locked by their
// primary keys, in order, then compared here, byte by byte, then cleared by their primary keys; so what is written into
// the evidence is what is cleared. In a batch, rows that another connection has locked are skipped, and what needs them
// is recorded alone, as is everything that has to read earlier evidence.
func (s *Store) recordAll(ctx context.Context, calls []recordCall, alone bool) ([]purge.Answer[purge.Recorded],
	error,
) {
	r, err := s.recordOnce(ctx, calls, alone)
	for alone && isDuplicate(err) { // another attempt at the request has written a document meanwhile
		r, err = s.recordOnce(ctx, calls, alone)
	}
	if isDuplicate(err) {
		return allAlone[purge.Recorded](len(calls)), nil
	}
	if err != nil {
		return nil, classify("writing to the ledger", err)
	}
	answers := make([]purge.Answer[purge.Recorded], len(calls))
	for i, m := range r.members {
		answers[i] = purge.Answer[purge.Recorded]{Value: m.recorded, Err: m.err}
	}
	return answers, nil
}

func (s *Store) recordOnce(ctx context.Context, calls []recordCall, alone bool) (*recording, error) {
	r := newRecording(s, calls, alone)
	return r, s.onConnection(ctx, func(conn *sql.Conn) error {
		if err := r.lock(ctx, conn); err != nil {
			return err
		}
		if alone {
			if err := r.readHistory(ctx, conn); err != nil {
				return err
			}
		}
		r.decide()
		return r.write(ctx, conn)
	})
}

// recording is one transaction of recordAll.
type recording struct {
	store   *Store
	now     time.Time
	skip    string // what an SQL text that locks ends with
	members []*member

	rows     map[purge.Table]map[int64]lockedRow
	left     map[purge.UserID][]purge.Reference // all references of the users that are to be done
	requests map[purge.RequestID]*requestRow
	others   []*requestRow // requests of the user whose figures change, too
	chains   map[purge.RequestID]purge.Chain
	history  *evidence.History // of a single call; nil where there is nothing but this attempt's own intents
}

// member is one call of a recording.
type member struct {
	recordCall

	err      error // why it has no part in this transaction
	recorded purge.Recorded
	clear    []purge.Reference
	document *evidence.Document
	row      *requestRow
	earlier  bool // there is evidence beside the intents of this attempt
}

type lockedRow struct {
	user purge.UserID
	ref  purge.Reference
}

// requestRow is what a recording reads of a request and writes back.
type requestRow struct {
	id                          purge.RequestID
	state                       purge.State
	reason                      purge.Reason
	detail                      string
	fence, failures, unfinished int
	kept                        int
	counts                      purge.Counts
	acceptMissing, acceptShared string
	recoverable, notBefore      sql.NullTime
	finished, updated           sql.NullTime
}

func newRecording(s *Store, calls []recordCall, alone bool) *recording {
	r := &recording{
		store: s, now: s.now(), rows: map[purge.Table]map[int64]lockedRow{purge.Live: {}, purge.History: {}},
		left: map[purge.UserID][]purge.Reference{}, requests: map[purge.RequestID]*requestRow{},
		chains: map[purge.RequestID]purge.Chain{},
	}
	if !alone {
		r.skip = " SKIP LOCKED"
	}
	users, requests := map[purge.UserID]bool{}, map[purge.RequestID]bool{}
	for _, c := range calls {
		m := &member{recordCall: c}
		if users[c.attempt.User] && c.attempt.User != 0 || requests[c.attempt.Request] {
			m.err = purge.ErrAlone // it builds on what the other one writes
		}
		users[c.attempt.User], requests[c.attempt.Request] = true, true
		r.members = append(r.members, m)
	}
	return r
}

// active are the members that have a part in the transaction.
func (r *recording) active() []*member {
	return slices.DeleteFunc(slices.Clone(r.members), func(m *member) bool { return m.err != nil })
}

const requestRowColumns = "id, state, reason, detail, attempts, failures, unfinished, references_kept, certificates," +
	" objects_erased, objects_absent, objects_soft_deleted, directories_missing, references_cleared," +
	" accept_missing_by, accept_shared_by, recoverable_until, not_before, finished_at, updated_at"

// lock begins the transaction, locks the rows, and reads what is decided from: what is left of the users, and whether
// there is earlier evidence.
func (r *recording) lock(ctx context.Context, conn *sql.Conn) error {
	var q script
	var scans []func(*sql.Rows) error
	q.add(readCommitted)
	q.add("START TRANSACTION")
	ids := map[purge.Table][]any{}
	var done, users, orphans, requests []any
	for _, m := range r.active() {
		for _, c := range m.report.Clear {
			for _, ref := range c.References {
				ids[c.Table] = append(ids[c.Table], ref.RowID)
			}
		}
		requests = append(requests, m.attempt.Request)
		switch {
		case m.attempt.AboutOrphans():
			orphans = append(orphans, m.attempt.Request)
		case m.report.State == purge.Done:
			done = append(done, m.attempt.User)
			fallthrough
		default:
			users = append(users, m.attempt.User)
		}
	}
	texts := exact("download_uuid") + ", " + exact("verify_uuid") + ", " + exact("download_url")
	for _, t := range r.store.referenceTables() {
		if len(ids[t.table]) == 0 {
			continue
		}
		q.add("SELECT "+t.key+", id, user_id, "+texts+" FROM "+t.name+" WHERE "+t.key+" IN ("+
			tuples("?", len(ids[t.table]))+") ORDER BY "+t.key+" FOR UPDATE"+r.skip, ids[t.table]...)
		scans = append(scans, r.scanRow(t.table))
	}
	q.add("SELECT "+requestRowColumns+" FROM requests WHERE id IN ("+tuples("?", len(requests))+") ORDER BY id FOR UPDATE"+
		r.skip, requests...)
	scans = append(scans, func(rows *sql.Rows) error {
		row, err := scanRequestRow(rows)
		r.requests[row.id] = row
		return err
	})
	if len(done) > 0 {
		q.add(r.store.tables.references("IN ("+tuples("?", len(done))+")", r.store.clear), r.store.times(done)...)
		scans = append(scans, r.scanLeft)
	}
	for _, of := range []struct {
		column string
		which  []any
	}{{"user_id", users}, {"request_id", orphans}} {
		if len(of.which) == 0 {
			continue
		}
		list := of.column + " IN (" + tuples("?", len(of.which)) + ")"
		q.add("SELECT user_id, request_id, attempt, part, "+chainTail+" FROM evidence_documents WHERE "+list+" ORDER BY id",
			of.which...)
		q.add("SELECT user_id, request_id FROM evidence_objects WHERE "+list+
			" UNION SELECT user_id, request_id FROM evidence WHERE "+list, slices.Concat(of.which, of.which)...)
		scans = append(scans, r.scanDocument, r.scanLegacy)
	}
	return send(ctx, conn, &q, scans...)
}

func (r *recording) scanRow(table purge.Table) func(*sql.Rows) error {
	return func(rows *sql.Rows) error {
		row := lockedRow{ref: purge.Reference{Table: table}}
		var user sql.NullInt64
		err := rows.Scan(&row.ref.RowID, &row.ref.CertificateID, &user, &row.ref.DownloadUUID, &row.ref.VerifyUUID,
			&row.ref.DownloadURL)
		row.user = purge.UserID(user.Int64)
		r.rows[table][row.ref.RowID] = row
		return err
	}
}

func (r *recording) scanLeft(rows *sql.Rows) error {
	found := map[purge.UserID]purge.User{}
	if err := scanUser(rows, found); err != nil {
		return err
	}
	for user, u := range found {
		r.left[user] = append(r.left[user], u.References...)
	}
	return nil
}

func scanRequestRow(rows *sql.Rows) (*requestRow, error) {
	var w requestRow
	err := rows.Scan(&w.id, &w.state, &w.reason, &w.detail, &w.fence, &w.failures, &w.unfinished, &w.kept,
		&w.counts.Certificates, &w.counts.ObjectsErased, &w.counts.ObjectsAbsent, &w.counts.ObjectsSoftDeleted,
		&w.counts.DirectoriesMissing, &w.counts.ReferencesCleared, &w.acceptMissing, &w.acceptShared, &w.recoverable,
		&w.notBefore, &w.finished, &w.updated)
	return &w, err
}

// scanDocument records where the chain of a request ends, and which members have earlier evidence: anything but the
// intents of the same attempt.
func (r *recording) scanDocument(rows *sql.Rows) error {
	var user purge.UserID
	var request purge.RequestID
	var attempt int
	var part evidence.Part
	var tail sql.NullString
	if err := rows.Scan(&user, &request, &attempt, &part, &tail); err != nil {
		return err
	}
	chain, err := parseChain(tail)
	if err != nil {
		return err
	}
	if chain.Documents > r.chains[request].Documents {
		r.chains[request] = chain
	}
	r.concerns(user, request, func(m *member) {
		if request != m.attempt.Request || attempt != m.attempt.Number || part != evidence.Intents {
			m.earlier = true
		}
	})
	return nil
}

// scanLegacy records which members have evidence in the rows of earlier versions.
func (r *recording) scanLegacy(rows *sql.Rows) error {
	var user purge.UserID
	var request purge.RequestID
	err := rows.Scan(&user, &request)
	r.concerns(user, request, func(m *member) { m.earlier = true })
	return err
}

// concerns finds the members that evidence of a request of a user is about: for orphans, only the request's own.
func (r *recording) concerns(user purge.UserID, request purge.RequestID, do func(*member)) {
	for _, m := range r.members {
		if m.attempt.Request == request || user != 0 && m.attempt.User == user {
			do(m)
		}
	}
}

// readHistory reads the earlier evidence of a single call, and the other requests that it is about.
func (r *recording) readHistory(ctx context.Context, conn *sql.Conn) error {
	m := r.members[0]
	if !m.earlier {
		return nil
	}
	var q script
	all := histories{}
	var scans []func(*sql.Rows) error
	if m.attempt.AboutOrphans() { // no user; and the evidence of all orphans is not one thing
		scans = addHistory(&q, "request_id", []any{m.attempt.Request}, all)
	} else {
		scans = addHistory(&q, "user_id", []any{m.attempt.User}, all)
		q.add("SELECT "+requestRowColumns+" FROM requests WHERE user_id = ? AND id <> ? ORDER BY id", m.attempt.User,
			m.attempt.Request)
		scans = append(scans, func(rows *sql.Rows) error {
			row, err := scanRequestRow(rows)
			r.others = append(r.others, row)
			return err
		})
	}
	err := send(ctx, conn, &q, scans...)
	r.history = all[m.attempt.User]
	return err
}

// decide says what becomes of each member.
func (r *recording) decide() {
	for _, m := range r.active() {
		row := r.requests[m.attempt.Request]
		switch {
		case row == nil && r.skip == "":
			m.err = purge.ErrUnknownRequest
		case row == nil, m.earlier && r.skip != "":
			m.err = purge.ErrAlone
		default:
			m.row = row
			r.compare(m)
		}
		if m.err == nil {
			r.settle(m)
		}
	}
}

// compare finds the rows that still hold exactly what was read.
func (r *recording) compare(m *member) {
	for _, c := range m.report.Clear {
		for _, ref := range c.References {
			locked, ok := r.rows[c.Table][ref.RowID]
			switch {
			case !ok && r.skip != "":
				m.err = purge.ErrAlone // locked by another connection, or gone
				return
			case ok && locked.user == m.attempt.User && locked.ref == ref:
				m.clear = append(m.clear, ref)
			}
		}
	}
}

// settle makes the document of a member and moves its request.
func (r *recording) settle(m *member) {
	var links []evidence.Link
	for _, ref := range m.clear {
		links = countLink(links, ref)
	}
	m.document = r.store.Writer.Record(m.attempt, m.report, links, r.now)
	history := r.history
	if history == nil {
		history = &evidence.History{}
	}
	settled := history.Add(0, m.document)
	m.document.Settle(settled)
	counts, recoverable := history.Counts(m.attempt.Request)
	r.move(m)
	m.row.figure(counts, recoverable)
	m.recorded = purge.Recorded{State: m.row.state, Reason: m.row.reason, Counts: m.row.counts}
	r.others = slices.DeleteFunc(r.others, func(other *requestRow) bool { // those of which something is settled
		return !slices.ContainsFunc(settled, func(row *evidence.Row) bool { return row.Request == other.id })
	})
	for _, other := range r.others {
		other.figure(history.Counts(other.id))
	}
}

func countLink(links []evidence.Link, ref purge.Reference) []evidence.Link {
	for i := range links {
		if links[i].CertificateID == ref.CertificateID && links[i].Table == ref.Table {
			links[i].Cleared++
			return links
		}
	}
	return append(links, evidence.Link{CertificateID: ref.CertificateID, Table: ref.Table, Cleared: 1})
}

// move moves a request. Only the newest attempt may end it as refused or failed or queue it again; done is true from
// any attempt, once the LMS database shows no reference, also if another attempt has failed the request meanwhile.
func (r *recording) move(m *member) {
	row, report := m.row, m.report
	open := row.state == purge.Queued || row.state == purge.Running
	switch {
	case report.State == purge.Done:
		if !open && row.state != purge.Failed || r.somethingLeft(m) {
			return
		}
	case !open || row.fence != m.attempt.Fence,
		// unless it was accepted meanwhile: then the request stays open
		report.Reason == purge.ReasonFilesMissing && row.acceptMissing != m.attempt.AcceptMissing,
		report.Reason == purge.ReasonShared && row.acceptShared != m.attempt.AcceptShared:
		return
	}
	row.state, row.reason, row.detail = report.State, report.Reason, report.Detail
	row.unfinished, row.kept = 0, len(report.Keep)
	row.notBefore, row.finished = nullable(report.NotBefore), sql.NullTime{}
	row.updated = nullable(r.now)
	row.counts.Certificates = max(row.counts.Certificates, report.Certificates)
	if report.Counted {
		row.failures++
	}
	if report.State.Ended() {
		row.finished = nullable(r.now)
		row.acceptMissing = "" // for one run; the evidence keeps who gave it
	}
}

// somethingLeft reports whether the user, or the request's certificate, has references left that count. Those to keep
// do not, as long as they are unchanged.
func (r *recording) somethingLeft(m *member) bool {
	return slices.ContainsFunc(r.left[m.attempt.User], func(ref purge.Reference) bool {
		return (m.attempt.Certificate == 0 || ref.CertificateID == m.attempt.Certificate) &&
			!slices.Contains(m.clear, ref) && !slices.Contains(m.report.Keep, ref)
	})
}

// figure sets the figures of a request, and what they say about its reason: whatever the last attempt met, all attempts
// have purged.
func (w *requestRow) figure(counts purge.Counts, recoverable time.Time) {
	counts.Certificates = max(w.counts.Certificates, counts.Certificates)
	w.counts, w.recoverable = counts, nullable(recoverable)
	switch {
	case w.state != purge.Done:
	case counts.DirectoriesMissing > 0:
		w.reason = purge.ReasonFilesMissing
	case w.reason == purge.ReasonNothingToPurge && counts.ReferencesCleared > 0:
		w.reason = purge.ReasonNone
	}
}

func nullable(t time.Time) sql.NullTime { return sql.NullTime{Time: t.UTC(), Valid: !t.IsZero()} }

// movedColumns are what a recording writes of a request.
var movedColumns = []string{
	"state", "reason", "detail", "failures", "unfinished", "references_kept", "certificates", "objects_erased",
	"objects_absent", "objects_soft_deleted", "directories_missing", "references_cleared", "accept_missing_by",
	"recoverable_until", "not_before", "finished_at", "updated_at", "ended_as",
}

func (w *requestRow) values() []any {
	ended := "" // what the CHECK of the table compares an end with: only the account of the worker may write it
	if w.state.Ended() {
		ended = string(w.state) + ":" + string(w.reason)
	}
	return []any{
		w.id, w.state, w.reason, w.detail, w.failures, w.unfinished, w.kept, w.counts.Certificates, w.counts.ObjectsErased,
		w.counts.ObjectsAbsent, w.counts.ObjectsSoftDeleted, w.counts.DirectoriesMissing, w.counts.ReferencesCleared,
		w.acceptMissing, w.recoverable, w.notBefore, w.finished, w.updated, ended,
	}
}

// write clears, writes the documents, moves the requests and commits.
func (r *recording) write(ctx context.Context, conn *sql.Conn) error {
	var q script
	ids := map[purge.Table][]any{}
	var documents []document
	moved := slices.Clone(r.others)
	for _, m := range r.active() {
		for _, ref := range m.clear {
			ids[ref.Table] = append(ids[ref.Table], ref.RowID)
		}
		chain := m.attempt.Chain
		if last := r.chains[m.attempt.Request]; last.Documents > chain.Documents {
			chain = last
		}
		documents = append(documents, document{Document: m.document, chain: chain})
		moved = append(moved, m.row)
	}
	if len(documents) == 0 {
		q.add("ROLLBACK")
		return send(ctx, conn, &q)
	}
	for _, t := range r.store.referenceTables() {
		if len(ids[t.table]) > 0 {
			q.add("UPDATE "+t.name+" SET download_uuid = '', download_url = '' WHERE "+t.key+" IN ("+
				tuples("?", len(ids[t.table]))+")", ids[t.table]...)
		}
	}
	if err := addDocuments(&q, documents, maxDocument(conn)); err != nil {
		return err
	}
	addMoves(&q, moved)
	q.add("COMMIT")
	return send(ctx, conn, &q)
}

// addMoves writes the rows of requests, all in one statement.
func addMoves(q *script, moved []*requestRow) {
	var sets []string
	names := []string{"? AS id"}
	for _, column := range movedColumns {
		sets = append(sets, "requests."+column+" = v."+column)
		names = append(names, "? AS "+column)
	}
	next := " UNION ALL SELECT " + tuples("?", len(names))
	for some := range slices.Chunk(moved, rowsPerStatement) {
		var args []any
		for _, row := range some {
			args = append(args, row.values()...)
		}
		q.add("UPDATE (SELECT "+strings.Join(names, ", ")+strings.Repeat(next, len(some)-1)+") v STRAIGHT_JOIN requests"+
			" ON requests.id = v.id SET "+strings.Join(sets, ", "), args...)
	}
}

// rowsPerStatement keeps one statement far below any server's max_allowed_packet.
const rowsPerStatement = 32

func tuples(one string, n int) string { return strings.TrimSuffix(strings.Repeat(one+", ", n), ", ") }

// cut shortens a text to at most n bytes of valid UTF-8.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
