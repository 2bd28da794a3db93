package httpapi

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// retireUser requests the purge of a user and waits for its end. It submits once more where the end that it finds is
// outdated, because that would put a learner into ERRORED for what has been fixed.
func (s *Server) retireUser(ctx context.Context, user purge.UserID, driver run, by string) *problem {
	hold := s.Hold
	if release, ok := s.held.take(callerOf(ctx).RateKey); ok {
		defer release()
	} else {
		hold = 0
	}
	until := time.Now().Add(hold)
	var last purge.RequestID
	for range maxSubmissions {
		a, fresh, p := s.submit(ctx, user, driver, by)
		if p != nil || a.request == 0 {
			return p
		}
		row, ok := s.await(ctx, a, fresh, until)
		if !ok {
			return stillRunning(a.request)
		}
		s.pending.remove(user, a)
		if a.isAnsweredBy(row, fresh, hold > 0) {
			return answer(row)
		}
		last = a.request
	}
	return stillRunning(last)
}

// maxSubmissions bounds how often one call submits: after an earlier call's end that is outdated, after that of an
// attempt which was under way, and for the end that is answered.
const maxSubmissions = 3

// isAnsweredBy reports whether the end of a request answers the driver, or is outdated.
func (a pending) isAnsweredBy(r mysql.Request, fresh, held bool) bool {
	isNew := r.Attempts > a.attempts // by an attempt that began after the submission, and saw the user as they are now
	if fresh {
		return isNew || r.State == purge.Done
	}
	// The end of what an earlier call requested may be outdated, too: an operator may have fixed its cause, and the driver
	// been run again; or links may be back. A new attempt finds out. But the driver would not hear of it where the answer
	// is not held back, and having given up is nothing that an attempt can find out.
	return isNew && r.State != purge.Done && (r.Reason == purge.ReasonGaveUp || !held)
}

// await waits for the end of a request, until a moment or until the server stops.
func (s *Server) await(ctx context.Context, a pending, fresh bool, until time.Time) (mysql.Request, bool) {
	isSettled := func(r mysql.Request) bool { return settled(r, a.attempts) }
	if !fresh { // it may have ended since, which is seen also where nothing is held back
		rows, err := s.Ledger.Requests(ctx, []purge.RequestID{a.request})
		if err == nil && len(rows) == 1 && isSettled(rows[0]) {
			return rows[0], true
		}
	}
	if !time.Now().Before(until) {
		return mysql.Request{}, false
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)() //nolint:contextcheck // two contexts end the waiting
	return s.follower.await(ctx, a.request, isSettled)
}

// submit accepts the submission, unless this run of the driver is still waiting for the answer to an earlier call: its
// end, too, is an answer, and another submission would wake a task that waits for its retry. The zero value means that
// there is nothing to do.
func (s *Server) submit(ctx context.Context, user purge.UserID, driver run, by string) (a pending, fresh bool,
	p *problem,
) {
	if a, ok := s.pending.find(user, driver, time.Now()); ok {
		return a, false, nil
	}
	accepted, err := s.Intake.Accept(ctx, []purge.Submission{{
		User: user, Key: purge.DefaultKey(user), Source: purge.SourceDriver, By: by,
	}})
	if err != nil && !errors.Is(err, purge.ErrNotQueued) {
		return pending{}, true, s.unavailable(ctx, err)
	}
	if !accepted[0].Open { // done before
		rows, err := s.Ledger.Requests(ctx, []purge.RequestID{accepted[0].Request})
		if err != nil || len(rows) == 0 {
			return pending{}, true, s.unavailable(ctx, err)
		}
		return pending{}, true, answer(rows[0])
	}
	a = pending{request: accepted[0].Request, attempts: accepted[0].Attempts, at: time.Now(), driver: driver}
	if err == nil { // what is in the ledger only is requested again by the next call, if no worker has queued it before
		s.pending.add(user, a)
	}
	return a, true, nil
}

// run identifies one run of the driver. The driver gets a token when it starts and keeps it; a static token never
// changes, so all calls with it are one run.
type run [sha256.Size]byte

func runOf(r *http.Request) run { return sha256.Sum256([]byte(r.Header.Get("Authorization"))) }

// pending is a request of a driver that has had no final answer yet.
type pending struct {
	request  purge.RequestID
	attempts int // that the request had before
	at       time.Time
	driver   run
}

// patience is how long a driver may come back for the end of what it requested: a little longer than the ten minutes
// that it keeps asking.
const patience = 11 * time.Minute

// pendingRequests are those of drivers that were answered to ask again: the next call gets the end, and does not begin
// anew. They are lost with the process; the next call then begins anew, which is safe.
type pendingRequests struct {
	mu     sync.Mutex
	byUser map[purge.UserID]pending
	swept  time.Time
}

func (w *pendingRequests) find(user purge.UserID, driver run, now time.Time) (pending, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a, ok := w.byUser[user]
	return a, ok && a.driver == driver && now.Sub(a.at) < patience
}

func (w *pendingRequests) add(user purge.UserID, a pending) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byUser == nil {
		w.byUser = map[purge.UserID]pending{}
	}
	w.byUser[user] = a
	if a.at.Sub(w.swept) > patience {
		w.swept = a.at
		for user, old := range w.byUser {
			if a.at.Sub(old.at) >= patience {
				delete(w.byUser, user)
			}
		}
	}
}

func (w *pendingRequests) remove(user purge.UserID, a pending) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byUser[user] == a {
		delete(w.byUser, user)
	}
}
