package mysql

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	driversql "github.com/go-sql-driver/mysql"

	"github.com/certpurge/certpurge/internal/purge"
)

// acceptBatch is how many requests one INSERT carries. Larger ones gain nothing and hold their locks longer.
const acceptBatch = 500

// knownRequest is a request that a submission leads to: there before it, or made for it.
type knownRequest struct {
	id       purge.RequestID
	scope    scope
	state    purge.State
	reason   purge.Reason
	attempts int
	ticket   string
	fresh    bool // made for a submission that has not been answered yet
}

// scope is what a request is about.
type scope struct {
	user        purge.UserID
	certificate purge.CertificateID // 0 for all of the user's
}

func scopeOf(w purge.Submission) scope { return scope{w.User, w.Certificate} }

// number is the column open_scope of an open request.
func (s scope) number() int64 { return int64(s.user)<<32 + int64(s.certificate) }

// knownRequests is what the ledger holds of the submissions of one call.
type knownRequests struct {
	keys map[string]*knownRequest // by idempotency key
	open map[scope]*knownRequest  // the open request of a scope
}

// acceptTries bounds how often Accept starts over because another caller has made one of its requests meanwhile.
const acceptTries = 10

// Accept makes or finds a request for each submission: one read of what is there, one INSERT for what is not. An INSERT
// is made whole or not at all; where another caller makes one of its requests at the same time, all is read again.
func (s *Store) Accept(ctx context.Context, submissions []purge.Submission) ([]purge.Accepted, error) {
	made := map[string]bool{} // keys of requests that this call has made, in any of its tries
	for try := 1; ; try++ {
		accepted, err := s.acceptOnce(ctx, submissions, made, try > 1)
		if err == nil || !lostRace(err) || try == acceptTries {
			return accepted, err
		}
	}
}

func (s *Store) acceptOnce(ctx context.Context, submissions []purge.Submission, made map[string]bool,
	again bool,
) ([]purge.Accepted, error) {
	known, err := s.lookUp(ctx, submissions)
	if err != nil {
		return nil, err
	}
	for key := range made {
		if m := known.keys[key]; m != nil {
			m.fresh = true
		}
	}
	fresh, aliases, err := sortOut(submissions, known)
	if err != nil {
		return nil, err
	}
	// in one order for all, so that two callers with the same keys wait for each other instead of dead-locking again
	if again {
		byKey := func(a, b purge.Submission) int { return cmp.Compare(a.Key, b.Key) }
		slices.SortFunc(fresh, byKey)
		slices.SortFunc(aliases, byKey)
	}
	if err := s.boundKeys(ctx, aliases, known); err != nil {
		return nil, err
	}
	for part := range slices.Chunk(fresh, acceptBatch) {
		if err := s.insert(ctx, part, known); err != nil {
			return nil, err
		}
		for _, w := range part {
			made[w.Key] = true
		}
	}
	for part := range slices.Chunk(aliases, acceptBatch) {
		if err := s.insertKeys(ctx, part, known); err != nil {
			return nil, err
		}
	}
	return s.answer(ctx, submissions, known)
}

// sortOut finds the submissions whose keys are new: those that need a request, and those whose key leads to an open
// one.
func sortOut(submissions []purge.Submission, known knownRequests) (fresh, aliases []purge.Submission, err error) {
	scopes, opening := map[string]scope{}, map[scope]bool{}
	for _, w := range submissions {
		sc := scopeOf(w)
		before, earlier := scopes[w.Key]
		if (earlier && before != sc) || (known.keys[w.Key] != nil && known.keys[w.Key].scope != sc) {
			return nil, nil, keyTaken(w)
		}
		switch {
		case earlier || known.keys[w.Key] != nil:
		case known.open[sc] != nil || opening[sc]:
			aliases = append(aliases, w)
		default:
			fresh, opening[sc] = append(fresh, w), true
		}
		scopes[w.Key] = sc
	}
	return fresh, aliases, nil
}

func keyTaken(w purge.Submission) error { return fmt.Errorf("user %d: %w", w.User, purge.ErrKeyTaken) }

// lookUp reads the requests to which the keys of submissions lead, and the open ones of their scopes.
func (s *Store) lookUp(ctx context.Context, submissions []purge.Submission) (knownRequests, error) {
	known := knownRequests{
		keys: make(map[string]*knownRequest, len(submissions)), open: make(map[scope]*knownRequest, len(submissions)),
	}
	for part := range slices.Chunk(submissions, acceptBatch) {
		keys, scopes := make([]any, len(part)), make([]any, len(part))
		for i, w := range part {
			keys[i], scopes[i] = w.Key, scopeOf(w).number()
		}
		list := "(" + tuples("?", len(part)) + ")"
		const columns = "r.id, r.user_id, r.certificate_id, r.state, r.reason, r.attempts_made, r.ticket"
		err := each(ctx, s.sql, func(rows *sql.Rows) error {
			var key string
			var m knownRequest
			err := rows.Scan(&key, &m.id, &m.scope.user, &m.scope.certificate, &m.state, &m.reason, &m.attempts, &m.ticket)
			if err != nil {
				return err
			}
			if !m.state.Ended() {
				if known.open[m.scope] == nil {
					known.open[m.scope] = &m
				}
				if key != "" {
					known.keys[key] = known.open[m.scope]
				}
			} else if known.keys[key] == nil {
				known.keys[key] = &m
			}
			return nil
		}, "SELECT r.idempotency_key, "+columns+" FROM requests r WHERE r.idempotency_key IN "+list+
			" UNION ALL SELECT k.idempotency_key, "+columns+" FROM request_keys k JOIN requests r ON r.id = k.request_id"+
			" WHERE k.idempotency_key IN "+list+
			" UNION ALL SELECT '', "+columns+" FROM requests r WHERE r.open_scope IN "+list,
			slices.Concat(keys, keys, scopes)...)
		if err != nil {
			return known, classify("looking up requests", err)
		}
	}
	return known, nil
}

// boundKeys refuses keys beyond purge.MaxKeys of one request.
func (s *Store) boundKeys(ctx context.Context, aliases []purge.Submission, known knownRequests) error {
	more := map[purge.RequestID]int{}
	var ids []purge.RequestID
	for _, w := range aliases {
		m := known.open[scopeOf(w)]
		if m == nil || !w.HasOwnKey() { // its request will be made by this call; or its key is the only one of its kind
			continue
		}
		if more[m.id] == 0 {
			ids = append(ids, m.id)
		}
		more[m.id]++
	}
	for part := range slices.Chunk(ids, acceptBatch) {
		var rows []struct {
			RequestID purge.RequestID
			Count     int
		}
		err := s.read(ctx, "counting idempotency keys", &rows, "SELECT request_id, COUNT(*) AS count FROM request_keys"+
			" WHERE request_id IN ? GROUP BY request_id", part)
		if err != nil {
			return err
		}
		for _, row := range rows {
			more[row.RequestID] += row.Count
		}
	}
	for id, n := range more {
		if n > purge.MaxKeys {
			return fmt.Errorf("request %d: %w", id, purge.ErrTooManyKeys)
		}
	}
	return nil
}

// lostRace reports that another transaction has written one of our keys or opened one of our scopes, or waits for us as
// we wait for it.
func lostRace(err error) bool {
	if errors.Is(err, errOpenElsewhere) {
		return true
	}
	e, ok := errors.AsType[*driversql.MySQLError](err)
	return ok && (e.Number == erDuplicateEntry || e.Number == erDeadlock)
}

// insert makes a request for each submission, or none, and reads the ids, in one round trip. The ids of one INSERT
// follow each other; where they do not (a cluster counts in steps), the others are looked up. What submissions accept
// is written as events in the same transaction: the request keeps it until its end only.
func (s *Store) insert(ctx context.Context, submissions []purge.Submission, known knownRequests) error {
	var q script
	var accepting []purge.Submission
	for _, w := range submissions {
		if w.AcceptMissing != "" || w.AcceptShared != "" {
			accepting = append(accepting, w)
		}
	}
	if len(accepting) > 0 {
		q.add("START TRANSACTION")
	}
	addRequests(&q, submissions, s.now())
	q.add("SELECT id, idempotency_key FROM requests WHERE id >= LAST_INSERT_ID() ORDER BY id LIMIT ?", len(submissions))
	ids := make(map[string]purge.RequestID, len(submissions))
	scan := func(rows *sql.Rows) error {
		var id purge.RequestID
		var key string
		err := rows.Scan(&id, &key)
		ids[key] = id
		return err
	}
	var err error
	if len(accepting) > 0 { // on a connection of its own: a failure must not leave the transaction open
		addAcceptedByKey(&q, accepting)
		q.add("COMMIT")
		err = s.run(ctx, &q, scan)
	} else {
		whole := q.packets(q.size)[0]
		err = each(ctx, s.sql, scan, string(whole.text), whole.args...)
	}
	if err != nil {
		return classify("writing requests to the ledger", err)
	}
	var missing []purge.Submission
	for _, w := range submissions {
		if ids[w.Key] == 0 {
			missing = append(missing, w)
			continue
		}
		known.add(w, &knownRequest{
			id: ids[w.Key], scope: scopeOf(w), state: purge.Queued, ticket: cutTicket(w.Ticket), fresh: true,
		})
	}
	if len(missing) == 0 {
		return nil
	}
	found, err := s.lookUp(ctx, missing)
	if err != nil {
		return err
	}
	for _, w := range missing {
		m := found.keys[w.Key]
		if m == nil {
			return &purge.Error{Class: purge.Transient, Text: "a request that was just written is not there"}
		}
		m.fresh = true
		known.add(w, m)
	}
	return nil
}

// addRequests adds the INSERT of requests. Most columns of most submissions are empty, and a large part of what the
// server does is reading the statement: columns that are empty in all rows are left out, and the time comes once.
func addRequests(q *script, submissions []purge.Submission, now time.Time) {
	columns := []requestColumn{
		{"idempotency_key", func(w purge.Submission) any { return w.Key }},
		{"user_id", func(w purge.Submission) any { return w.User }},
		{"source", func(w purge.Submission) any { return w.Source }},
		{"requested_at", func(purge.Submission) any { return now }},
	}
	for _, c := range optionalColumns {
		if slices.ContainsFunc(submissions, func(w purge.Submission) bool { return c.of(w) != c.of(purge.Submission{}) }) {
			columns = append(columns, c)
		}
	}
	var names strings.Builder
	args := make([]any, 0, len(columns)*len(submissions))
	for _, c := range columns {
		names.WriteString(c.name + ", ")
	}
	for _, w := range submissions {
		for _, c := range columns {
			args = append(args, c.of(w))
		}
	}
	row := "(" + tuples("?", len(columns)) + ", 'queued', requested_at, requested_at)"
	q.add("INSERT INTO requests ("+names.String()+"state, opened_at, updated_at) VALUES "+tuples(row, len(submissions)),
		args...)
}

// requestColumn is a column of a new request.
type requestColumn struct {
	name string
	of   func(purge.Submission) any
}

// optionalColumns are those whose default is the zero value of a submission.
var optionalColumns = []requestColumn{
	{"certificate_id", func(w purge.Submission) any { return w.Certificate }},
	{"requested_by", func(w purge.Submission) any { return cut(w.By, 160) }},
	{"ticket", func(w purge.Submission) any { return cutTicket(w.Ticket) }},
	{"accept_missing_by", func(w purge.Submission) any { return cut(w.AcceptMissing, 128) }},
	{"accept_shared_by", func(w purge.Submission) any { return cut(w.AcceptShared, 128) }},
}

// add adds the request that was made for a submission.
func (k knownRequests) add(w purge.Submission, m *knownRequest) {
	k.keys[w.Key], k.open[m.scope] = m, m
}

// insertKeys makes the keys of submissions lead to the open requests of their scopes.
func (s *Store) insertKeys(ctx context.Context, submissions []purge.Submission, known knownRequests) error {
	now := s.now()
	args := make([]any, 0, 4*len(submissions))
	for _, w := range submissions {
		m := known.open[scopeOf(w)]
		args = append(args, w.Key, m.id, cut(w.By, 160), now)
		known.keys[w.Key] = m
	}
	_, err := s.exec(ctx, "writing idempotency keys to the ledger", "INSERT INTO request_keys (idempotency_key,"+
		" request_id, requested_by, created_at) VALUES "+tuples("(?, ?, ?, ?)", len(submissions)), args...)
	return err
}

// errOpenElsewhere means that a request which was to be opened again stayed ended, because another one of its scope was
// opened meanwhile.
var errOpenElsewhere = &purge.Error{Class: purge.Transient, Text: "another request of the same scope was " +
	"opened meanwhile"}

// of returns the request that a submission leads to: that of its key, or, if that has ended, the open one of its scope.
func (k knownRequests) of(w purge.Submission) *knownRequest {
	m := k.keys[w.Key]
	if open := k.open[scopeOf(w)]; open != nil && (m == nil || m.state.Ended() && !w.Replay) {
		return open
	}
	return m
}

// answer returns the answer to each submission, as if one had been accepted after the other, and opens ended requests
// again.
func (s *Store) answer(ctx context.Context, submissions []purge.Submission, known knownRequests) ([]purge.Accepted,
	error,
) {
	left, err := s.leftToDo(ctx, submissions, known)
	if err != nil {
		return nil, err
	}
	accepted := make([]purge.Accepted, len(submissions))
	again, open := map[purge.Reopening][]purge.RequestID{}, map[purge.Reopening][]purge.RequestID{}
	var resubmitted []event
	for i, w := range submissions {
		m := known.of(w)
		a := purge.Accepted{
			Request: m.id, User: w.User, Certificate: w.Certificate, Found: purge.Found(m.state), Open: true,
			Attempts: m.attempts, Ticket: m.ticket,
		}
		switch {
		case m.fresh:
			a.Found, m.fresh = purge.FoundNew, false
		case !m.state.Ended():
			if w.AcceptMissing != "" || w.AcceptShared != "" {
				open[w.Reopening()] = append(open[w.Reopening()], m.id)
			}
			if w.Ticket != "" && cutTicket(w.Ticket) != m.ticket {
				resubmitted = append(resubmitted, newEvent(m.id, eventResubmitted, w.Reopening()))
			}
		case w.Replay:
			a.Open, a.Reason = false, m.reason
		case m.state == purge.Done && !left[m.scope]:
			a.Open, a.Reason = false, m.reason
			resubmitted = append(resubmitted, newEvent(m.id, eventResubmitted, w.Reopening()))
		default:
			again[w.Reopening()] = append(again[w.Reopening()], m.id)
			m.state, known.open[m.scope] = purge.Queued, m
		}
		accepted[i] = a
	}
	for r, ids := range again {
		n, err := s.Reopen(ctx, ids, r)
		if err != nil {
			return accepted, err
		}
		if n < len(ids) {
			return accepted, errOpenElsewhere
		}
	}
	for r, ids := range open {
		if err := s.accept(ctx, ids, r); err != nil {
			return accepted, err
		}
	}
	return accepted, s.addResubmitted(ctx, resubmitted)
}

// leftToDo asks what still has references, of that whose requests are done.
func (s *Store) leftToDo(ctx context.Context, submissions []purge.Submission, known knownRequests) (map[scope]bool,
	error,
) {
	var users []purge.UserID
	var certificates []scope
	for _, w := range submissions {
		switch {
		case known.of(w).state != purge.Done || w.Replay:
		case w.Certificate != 0:
			certificates = append(certificates, scopeOf(w))
		default:
			users = append(users, w.User)
		}
	}
	left := map[scope]bool{}
	for part := range slices.Chunk(users, acceptBatch) {
		some, err := s.withReferences(ctx, part)
		if err != nil {
			return nil, err
		}
		for id := range some {
			left[scope{user: id}] = true
		}
	}
	for part := range slices.Chunk(certificates, acceptBatch) {
		if err := s.leftOf(ctx, part, left); err != nil {
			return nil, err
		}
	}
	return left, nil
}

// leftOf adds those certificates that have a reference that counts as left.
func (s *Store) leftOf(ctx context.Context, certificates []scope, left map[scope]bool) error {
	ids := make([]purge.CertificateID, len(certificates))
	for i, c := range certificates {
		ids[i] = c.certificate
	}
	for _, table := range s.counting() {
		var rows []struct {
			ID     purge.CertificateID
			UserID purge.UserID
		}
		err := s.read(ctx, "asking the LMS database", &rows, "SELECT DISTINCT id, user_id FROM "+table+
			" WHERE id IN ? AND user_id IS NOT NULL AND "+hasReference, ids)
		if err != nil {
			return err
		}
		for _, row := range rows {
			left[scope{row.UserID, row.ID}] = true
		}
	}
	return nil
}
