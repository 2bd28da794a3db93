package mysql

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	driversql "github.com/go-sql-driver/mysql"

	"github.com/certpurge/certpurge/internal/purge"
)

// acceptBatch is how many requests one INSERT carries. Larger ones gain nothing and hold their locks longer.
const acceptBatch = 500

// met is a request that a wish has met: there before it, or made for it.
type met struct {
	id       purge.RequestID
	scope    scope
	state    purge.State
	reason   purge.Reason
	attempts int
	fresh    bool // made for a wish that has not been answered yet
}

// scope is what a request is about.
type scope struct {
	user        purge.UserID
	certificate purge.CertificateID // 0 for all of the user's
}

func scopeOf(w purge.Wish) scope { return scope{w.User, w.Certificate} }

// Accept makes or finds a request for each wish: one look for what is there, one INSERT for what is not. An INSERT is
// made whole or not at all, so a request that it makes is nobody else's, and whoever finds it found it.
func (s *Store) Accept(ctx context.Context, wishes []purge.Wish) ([]purge.Accepted, error) {
	keys := make([]string, len(wishes))
	for i, w := range wishes {
		keys[i] = w.Key
	}
	known := make(map[string]*met, len(wishes))
	if err := s.lookUp(ctx, keys, known); err != nil {
		return nil, err
	}
	var fresh []purge.Wish
	scopes := map[string]scope{}
	for _, w := range wishes {
		before, asked := scopes[w.Key]
		if (asked && before != scopeOf(w)) || (known[w.Key] != nil && known[w.Key].scope != scopeOf(w)) {
			return nil, keyTaken(w)
		}
		if !asked && known[w.Key] == nil {
			fresh = append(fresh, w)
		}
		scopes[w.Key] = scopeOf(w)
	}
	for part := range slices.Chunk(fresh, acceptBatch) {
		if err := s.insert(ctx, part, known); err != nil {
			return nil, err
		}
	}
	return s.answer(ctx, wishes, known)
}

func keyTaken(w purge.Wish) error { return fmt.Errorf("user %d: %w", w.User, purge.ErrKeyTaken) }

// lookUp adds the requests that carry the keys to what is known.
func (s *Store) lookUp(ctx context.Context, keys []string, known map[string]*met) error {
	for part := range slices.Chunk(keys, acceptBatch) {
		args := make([]any, len(part))
		for i, key := range part {
			args[i] = key
		}
		err := each(ctx, s.sql, func(rows *sql.Rows) error {
			var key string
			var m met
			if err := rows.Scan(&m.id, &key, &m.scope.user, &m.scope.certificate, &m.state, &m.reason, &m.attempts); err != nil {
				return err
			}
			known[key] = &m
			return nil
		}, "SELECT id, idempotency_key, user_id, certificate_id, state, reason, attempts_made FROM requests WHERE idempotency_key IN ("+tuples("?", len(part))+")", args...)
		if err != nil {
			return classify("looking up requests", err)
		}
	}
	return nil
}

// insertTries bounds the INSERTs of one batch. Each one that fails has met somebody who accepts the same at the same time.
const insertTries = 10

// insert makes a request for each wish, but for those that somebody else makes meanwhile, and adds all of them to what is
// known.
func (s *Store) insert(ctx context.Context, wishes []purge.Wish, known map[string]*met) error {
	for try := 1; len(wishes) > 0; try++ {
		err := s.insertAll(ctx, wishes, known)
		if err == nil {
			break
		}
		if !lostRace(err) || try == insertTries {
			return classify("writing requests to the ledger", err)
		}
		keys := make([]string, len(wishes))
		for i, w := range wishes {
			keys[i] = w.Key
		}
		if err := s.lookUp(ctx, keys, known); err != nil {
			return err
		}
		var left []purge.Wish
		for _, w := range wishes {
			if other := known[w.Key]; other == nil {
				left = append(left, w)
			} else if other.scope != scopeOf(w) {
				return keyTaken(w)
			}
		}
		// In one order for all, so that two who write the same keys wait for each other instead of dead-locking again.
		slices.SortFunc(left, func(a, b purge.Wish) int { return cmp.Compare(a.Key, b.Key) })
		wishes = left
	}
	return nil
}

// lostRace reports that another transaction has written one of our keys, or waits for us as we wait for it.
func lostRace(err error) bool {
	e, ok := errors.AsType[*driversql.MySQLError](err)
	return ok && (e.Number == erDuplicateEntry || e.Number == erDeadlock)
}

// insertAll makes a request for each wish, or none, and reads the ids, in one round trip. The ids of one INSERT follow
// each other; where they do not (a cluster counts in steps), the others are looked up.
func (s *Store) insertAll(ctx context.Context, wishes []purge.Wish, known map[string]*met) error {
	now := s.now()
	var q script
	args := make([]any, 0, 8*len(wishes)+1)
	for _, w := range wishes {
		args = append(args, w.Key, w.User, w.Certificate, w.Source, w.AcceptMissing, now, now, now)
	}
	q.add("INSERT INTO requests (idempotency_key, user_id, certificate_id, source, state, accept_missing_by, requested_at, opened_at, updated_at) VALUES "+
		tuples("(?, ?, ?, ?, 'queued', ?, ?, ?, ?)", len(wishes)), args...)
	q.add("SELECT id, idempotency_key FROM requests WHERE id >= LAST_INSERT_ID() ORDER BY id LIMIT ?", len(wishes))
	whole := q.packets(q.size)[0]
	ids := make(map[string]purge.RequestID, len(wishes))
	err := each(ctx, s.sql, func(rows *sql.Rows) error {
		var id purge.RequestID
		var key string
		err := rows.Scan(&id, &key)
		ids[key] = id
		return err
	}, string(whole.text), whole.args...)
	if err != nil {
		return err
	}
	var missing []string
	for _, w := range wishes {
		if ids[w.Key] == 0 {
			missing = append(missing, w.Key)
			continue
		}
		known[w.Key] = &met{id: ids[w.Key], scope: scopeOf(w), state: purge.Queued, fresh: true}
	}
	if err := s.lookUp(ctx, missing, known); err != nil {
		return err
	}
	for _, key := range missing {
		if known[key] == nil {
			return &purge.Error{Class: purge.Transient, Text: "a request that was just written is not there"}
		}
		known[key].fresh = true
	}
	return nil
}

// answer tells each wish what it met, as if one had been accepted after the other, and opens ended requests again.
func (s *Store) answer(ctx context.Context, wishes []purge.Wish, known map[string]*met) ([]purge.Accepted, error) {
	left, err := s.leftToDo(ctx, wishes, known)
	if err != nil {
		return nil, err
	}
	accepted := make([]purge.Accepted, len(wishes))
	again, open := map[string][]purge.RequestID{}, map[string][]purge.RequestID{} // by who accepts missing files
	for i, w := range wishes {
		m := known[w.Key]
		a := purge.Accepted{Request: m.id, User: w.User, Certificate: w.Certificate, Found: purge.Found(m.state), Open: true, Attempts: m.attempts}
		switch {
		case m.fresh:
			a.Found, m.fresh = purge.FoundNew, false
		case !m.state.Ended():
			if w.AcceptMissing != "" {
				open[w.AcceptMissing] = append(open[w.AcceptMissing], m.id)
			}
		case w.Replay, m.state == purge.Done && !left[m.scope]:
			a.Open, a.Reason = false, m.reason
		default:
			again[w.AcceptMissing] = append(again[w.AcceptMissing], m.id)
			m.state = purge.Queued
		}
		accepted[i] = a
	}
	for by, ids := range again {
		if _, err := s.Reopen(ctx, ids, by); err != nil {
			return accepted, err
		}
	}
	for by, ids := range open {
		if err := s.acceptMissing(ctx, ids, by); err != nil {
			return accepted, err
		}
	}
	return accepted, nil
}

// leftToDo asks what still has references, of that whose requests are done.
func (s *Store) leftToDo(ctx context.Context, wishes []purge.Wish, known map[string]*met) (map[scope]bool, error) {
	var users []purge.UserID
	var certificates []scope
	for _, w := range wishes {
		switch {
		case known[w.Key].state != purge.Done || w.Replay:
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
			return nil, classify("asking the LMS database", err)
		}
		for id := range some {
			left[scope{user: id}] = true
		}
	}
	for part := range slices.Chunk(certificates, acceptBatch) {
		if err := s.leftOf(ctx, part, left); err != nil {
			return nil, classify("asking the LMS database", err)
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
		err := s.gorm.WithContext(ctx).Raw("SELECT DISTINCT id, user_id FROM "+table+" WHERE id IN ? AND user_id IS NOT NULL AND "+hasReference, ids).Scan(&rows).Error
		if err != nil {
			return fmt.Errorf("looking for references: %w", err)
		}
		for _, row := range rows {
			left[scope{row.UserID, row.ID}] = true
		}
	}
	return nil
}
