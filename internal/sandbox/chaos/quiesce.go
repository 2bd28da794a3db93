package chaos

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/demo"
	"github.com/certpurge/certpurge/internal/sandbox/demo/dataset"
)

const (
	ledgerRequests = demo.LedgerDatabase + ".requests"
	// followEvery is how often the ledger is asked how far things are.
	followEvery = 500 * time.Millisecond
	sayEvery    = 10 * time.Second
	// stallLimit is how long no request may come to an end: longer than any recovery takes.
	stallLimit = leaseRecovery + 40*time.Second
)

// standing is how the requests stand.
type standing struct {
	known    map[int]dataset.End // by user
	attempts map[int]int         // by user
}

// settled reports whether nothing more will happen to a request.
func settled(end dataset.End) bool {
	return end.State.Ended() || end.State == purge.Queued && end.Reason == purge.ReasonRetained
}

// quiesce waits until every request has ended or waits for a date. Meanwhile it does what an operator does after a bad
// day: it asks again for users whose enqueuer died before it had accepted them, and for those that failed because a
// right was missing.
func (r *run) quiesce(ctx context.Context) {
	r.printf("  %6.1fs  quiesce\n", time.Since(r.begun).Seconds())
	r.stormed = time.Now()
	r.await(ctx, func(s standing) int {
		missing := r.missing(s)
		if len(missing) > 0 && r.enqueue(ctx, missing) {
			r.askedAgain += len(missing)
		}
		return r.open(s) + len(missing)
	})
	r.ended = time.Now()
}

// await waits until nothing is left, until the bound, or until nothing has moved for longer than it may.
func (r *run) await(ctx context.Context, left func(standing) int) {
	ctx, cancel := context.WithDeadline(ctx, r.deadline())
	defer cancel()
	said, moved, fewest := time.Now(), time.Now(), math.MaxInt
	for {
		s, err := r.standing(ctx)
		if err == nil {
			open := left(s)
			if open <= 0 {
				return
			}
			if open < fewest {
				fewest, moved = open, time.Now()
			}
			if time.Since(moved) > stallLimit {
				r.tally.violate("%d requests are to come to an end, and none has for %v: see below", open, stallLimit)
				return
			}
			if time.Since(said) > sayEvery {
				said = time.Now()
				r.printf("  %6.1fs  %d requests are open\n", time.Since(r.begun).Seconds(), open)
			}
		}
		if !purge.Sleep(ctx, followEvery) {
			r.tally.violate("the bound of %v was over before all requests had ended: see below", r.Bound)
			return
		}
	}
}

// open counts the requests that something will still happen to.
func (r *run) open(s standing) int {
	n := 0
	for _, end := range s.known {
		if !settled(end) {
			n++
		}
	}
	return n
}

// unsettled counts the users who were to be asked for and whose request has not come to an end, or does not exist.
func (r *run) unsettled(s standing) int {
	n := 0
	for user := range r.want.Ends {
		if end, known := s.known[user]; !known || !settled(end) {
			n++
		}
	}
	return n
}

// missing lists the users to ask for (again).
func (r *run) missing(s standing) []int {
	var users []int
	for user := range r.want.Ends {
		end, known := s.known[user]
		if !known || end == (dataset.End{State: purge.Failed, Reason: purge.ReasonNoPermission}) {
			users = append(users, user)
		}
	}
	return users
}

// standing asks the ledger.
func (r *run) standing(ctx context.Context) (standing, error) {
	s := standing{known: map[int]dataset.End{}, attempts: map[int]int{}}
	rows, err := r.env.Root.QueryContext(ctx, "SELECT user_id, state, reason, attempts FROM "+ledgerRequests)
	if err != nil {
		return s, fmt.Errorf("asking the ledger: %w", err)
	}
	defer rows.Close()
	return s, s.read(rows)
}

func (s *standing) read(rows *sql.Rows) error {
	for rows.Next() {
		var user, attempts int
		var end dataset.End
		if err := rows.Scan(&user, &end.State, &end.Reason, &attempts); err != nil {
			return fmt.Errorf("asking the ledger: %w", err)
		}
		s.known[user] = end
		s.attempts[user] += attempts
	}
	return rows.Err()
}
