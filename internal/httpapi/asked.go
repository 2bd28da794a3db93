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

// retireUser requests the purge of a user and waits for its end. It asks once more where the end that it finds is old
// news, because that would put a learner into ERRORED for what has been fixed.
func (s *Server) retireUser(ctx context.Context, user purge.UserID, by run, asker string) *problem {
	hold := s.Hold
	if release, ok := s.held.take(callerOf(ctx).RateKey); ok {
		defer release()
	} else {
		hold = 0
	}
	until := time.Now().Add(hold)
	var asked purge.RequestID
	for range maxQuestions {
		a, fresh, p := s.ask(ctx, user, by, asker)
		if p != nil || a.request == 0 {
			return p
		}
		row, ok := s.await(ctx, a, fresh, until)
		if !ok {
			return stillRunning(a.request)
		}
		s.asked.forget(user, a)
		if a.isAnsweredBy(row, fresh, hold > 0) {
			return answer(row)
		}
		asked = a.request
	}
	return stillRunning(asked)
}

// maxQuestions bounds how often one call asks: for an earlier call's end that is old news, for that of an attempt which
// was under way, and for the end that is answered.
const maxQuestions = 3

// isAnsweredBy reports whether the end of a request answers those who asked, or is old news.
func (a asked) isAnsweredBy(r mysql.Request, fresh, held bool) bool {
	news := r.Attempts > a.attempts // by an attempt that began after the asking, and saw the user as they are now
	if fresh {
		return news || r.State == purge.Done
	}
	// The end of what an earlier call requested may be outdated, too: an operator may have fixed its cause, and the driver
	// been run again; or links may be back. A new attempt finds out. But the driver would not hear of it where the answer
	// is not held back, and having given up is nothing that an attempt can find out.
	return news && r.State != purge.Done && (r.Reason == purge.ReasonGaveUp || !held)
}

// await waits for the end of a request, until a moment or until the server stops.
func (s *Server) await(ctx context.Context, a asked, fresh bool, until time.Time) (mysql.Request, bool) {
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

// ask accepts the submission, unless this run of the driver is still waiting for the answer to an earlier call: its
// end, too, is an answer, and asking again would wake a task that waits for its retry. The zero value means that there
// is nothing to do.
func (s *Server) ask(ctx context.Context, user purge.UserID, by run, asker string) (a asked, fresh bool, p *problem) {
	if a, ok := s.asked.find(user, by, time.Now()); ok {
		return a, false, nil
	}
	accepted, err := s.Intake.Accept(ctx, []purge.Submission{{
		User: user, Key: purge.DefaultKey(user),
		Source: purge.SourceDriver, By: asker,
	}})
	if err != nil && !errors.Is(err, purge.ErrNotQueued) {
		return asked{}, true, s.unavailable(ctx, err)
	}
	if !accepted[0].Open { // done before
		rows, err := s.Ledger.Requests(ctx, []purge.RequestID{accepted[0].Request})
		if err != nil || len(rows) == 0 {
			return asked{}, true, s.unavailable(ctx, err)
		}
		return asked{}, true, answer(rows[0])
	}
	a = asked{request: accepted[0].Request, attempts: accepted[0].Attempts, at: time.Now(), by: by}
	if err == nil { // what is in the ledger only is requested again by the next call, if no worker has queued it before
		s.asked.note(user, a)
	}
	return a, true, nil
}

// run identifies one run of the driver. The driver gets a token when it starts and keeps it; a static token is
// the same for ever, so that all that is asked with it is one run.
type run [sha256.Size]byte

func runOf(r *http.Request) run { return sha256.Sum256([]byte(r.Header.Get("Authorization"))) }

// asked is a request that a driver requested and has not heard the end of.
type asked struct {
	request  purge.RequestID
	attempts int // that the request had before
	at       time.Time
	by       run
}

// patience is how long a driver may come back for the end of what it requested: a little longer than the ten minutes
// that it keeps asking.
const patience = 11 * time.Minute

// waiting remembers what was requested, so that a driver that was answered to ask again gets the end, and does not
// begin anew. It is lost with the process; then asking again begins anew, which is safe.
type waiting struct {
	mu    sync.Mutex
	asked map[purge.UserID]asked
	swept time.Time
}

func (w *waiting) find(user purge.UserID, by run, now time.Time) (asked, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a, ok := w.asked[user]
	return a, ok && a.by == by && now.Sub(a.at) < patience
}

func (w *waiting) note(user purge.UserID, a asked) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asked == nil {
		w.asked = map[purge.UserID]asked{}
	}
	w.asked[user] = a
	if a.at.Sub(w.swept) > patience {
		w.swept = a.at
		for user, old := range w.asked {
			if a.at.Sub(old.at) >= patience {
				delete(w.asked, user)
			}
		}
	}
}

func (w *waiting) forget(user purge.UserID, a asked) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asked[user] == a {
		delete(w.asked, user)
	}
}
