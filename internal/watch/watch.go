// Package watch submits purge requests for users who have become eligible and still have references, so that the
// retirement pipeline needs no change.
//
// A round reads all retirement requests in the order of user ids, page by page. The LMS has no index of when a row was
// created or changed, and a user becomes eligible long after the retirement request was made, so a high-water mark on
// ids would miss users. A round begins where the last one ended, also after a restart: a round that was cut short by
// its limits is continued, not begun again.
//
// The package never touches a bucket and never writes to an LMS table. The worker decides whether a user is retiring,
// when it does the work.
package watch

import (
	"context"
	"fmt"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/purge"
)

// Ledger is what a watcher reads, and where it remembers how far it came.
type Ledger interface {
	// LeadWatch makes the caller the leader unless another process is. release must be called by a leader.
	LeadWatch(ctx context.Context) (release func(), leading bool, err error)
	// WatchPosition returns the user after whom to continue, and how long ago the latest round of any watcher ended.
	WatchPosition(ctx context.Context) (after purge.UserID, ended time.Duration, err error)
	// SaveWatchPosition stores after whom to continue, and whether a round has ended there.
	SaveWatchPosition(ctx context.Context, after purge.UserID, ended bool) error
	// Retirees returns users with a retirement request after a user id, in order; fewer than limit only if there are no
	// more.
	Retirees(ctx context.Context, after purge.UserID, limit int) ([]purge.Retiree, error)
	// Standings returns the standing of each user who has a reference; the others are missing.
	Standings(ctx context.Context, users []purge.UserID) (map[purge.UserID]purge.Standing, error)
}

// Intake takes submissions, as purge.Intake does.
type Intake interface {
	Accept(ctx context.Context, submissions []purge.Submission) ([]purge.Accepted, error)
}

// Watcher makes rounds. Set the fields once.
type Watcher struct {
	config.Watch

	Ledger   Ledger
	Intake   Intake
	Waiting  func(ctx context.Context) (int, error) // how many tasks wait in the queue
	Eligible func(purge.Retirement) bool
	Now      func() time.Time
	Observe  func(Summary, error) // called after every round of Run; may be nil
}

// Summary is what one round did.
type Summary struct {
	Led            bool `json:"led"`             // false: another process is the leader
	Recent         bool `json:"recent"`          // nothing was done, because a round has just ended
	Requests       int  `json:"requests"`        // retirement requests checked
	Eligible       int  `json:"eligible"`        // of those, past the cancellable stage
	CoolingOff     int  `json:"cooling_off"`     // of the eligible, not for long enough
	WithReferences int  `json:"with_references"` // of the rest, those with references
	Open           int  `json:"open"`            // of those: requested before, and at work
	Failed         int  `json:"failed"`          // left to an operator
	TooSoon        int  `json:"too_soon"`        // refused or done less than watch.ask_again_after ago
	Asked          int  `json:"asked"`           // submitted in this round
	Again          int  `json:"again"`           // of the submitted, those with an earlier request
	Capped         bool `json:"capped"`          // stopped early: enough users for one round
	Full           bool `json:"full"`            // stopped early: enough tasks wait
}

// acceptTimeout is the limit of a batch that is under way when the watcher is stopped.
const acceptTimeout = 30 * time.Second

// Once makes one round, unless another process leads or one ended less than rest ago.
func (w *Watcher) Once(ctx context.Context, rest time.Duration) (Summary, error) {
	var sum Summary
	release, leading, err := w.Ledger.LeadWatch(ctx)
	if err != nil || !leading {
		return sum, err
	}
	defer release()
	sum.Led = true
	begin, ended, err := w.Ledger.WatchPosition(ctx)
	if err != nil {
		return sum, err
	}
	if ended < rest {
		sum.Recent = true
		return sum, nil
	}
	r := round{Watcher: w, sum: &sum, after: begin}
	more, err := r.part(ctx, 0) // to the end of all
	if more && begin > 0 {
		r.after = 0
		_, err = r.part(ctx, begin) // and from the beginning to where it began
	}
	if err != nil {
		return sum, err
	}
	return sum, w.Ledger.SaveWatchPosition(context.WithoutCancel(ctx), r.after, true)
}

// round is a round in progress.
type round struct {
	*Watcher
	sum   *Summary
	after purge.UserID // all users up to here have been checked
}

// part checks the users behind r.after up to a last one, 0 for all there are, and reports whether the round may go
// on.
func (r *round) part(ctx context.Context, last purge.UserID) (more bool, err error) {
	for {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		retirees, err := r.Ledger.Retirees(ctx, r.after, purge.MaxBatch)
		if err != nil {
			return false, err
		}
		end := len(retirees) < purge.MaxBatch
		for last > 0 && len(retirees) > 0 && retirees[len(retirees)-1].User > last {
			retirees, end = retirees[:len(retirees)-1], true
		}
		if more, err := r.page(ctx, retirees); err != nil || !more {
			return false, err
		}
		if end {
			return true, nil
		}
	}
}

// page submits the retirees who are due, as far as there is room, and reports whether there was enough.
func (r *round) page(ctx context.Context, retirees []purge.Retiree) (more bool, err error) {
	due, err := r.due(ctx, retirees)
	if err != nil {
		return false, err
	}
	room := len(due)
	if room > 0 {
		waiting, err := r.Waiting(ctx)
		if err != nil {
			return false, err
		}
		left := r.MaxUsersPerRound - r.sum.Asked
		room = max(0, min(room, left, r.HighWater-waiting))
		r.sum.Capped = room < len(due) && room == left
		r.sum.Full = room < len(due) && !r.sum.Capped
	}
	if err := r.submit(ctx, due[:room]); err != nil {
		return false, err
	}
	switch {
	case room < len(due) && room > 0:
		r.after = due[room-1].User
	case room == len(due) && len(retirees) > 0:
		r.after = retirees[len(retirees)-1].User
	}
	if room > 0 { // after a restart these users would count as open anyway; this saves reading them again
		err = r.Ledger.SaveWatchPosition(context.WithoutCancel(ctx), r.after, false)
	}
	return room == len(due), err
}

// due returns the users to submit, and counts the others.
func (r *round) due(ctx context.Context, retirees []purge.Retiree) ([]purge.Submission, error) {
	now, coolOff := r.Now(), time.Duration(r.CoolOffDays)*24*time.Hour
	var users []purge.UserID
	for _, u := range retirees {
		r.sum.Requests++
		if !r.Eligible(u.Retirement) {
			continue
		}
		r.sum.Eligible++
		if u.Since.After(now.Add(-coolOff)) {
			r.sum.CoolingOff++
			continue
		}
		users = append(users, u.User)
	}
	standings, err := r.Ledger.Standings(ctx, users)
	if err != nil {
		return nil, err
	}
	var due []purge.Submission
	for _, user := range users {
		if standing, ok := standings[user]; ok && r.judge(standing, now) {
			due = append(due, purge.Submission{User: user, Key: purge.DefaultKey(user), Source: purge.SourceWatch})
		}
	}
	return due, nil
}

// judge decides whether to submit a user with references.
func (r *round) judge(s purge.Standing, now time.Time) bool {
	r.sum.WithReferences++
	switch {
	case s.Open:
		r.sum.Open++
	case s.Ended == "":
		return true
	case s.Ended == purge.Failed:
		r.sum.Failed++ // it would fail again: an operator has to fix its cause first
	case s.Ended == purge.Done && !s.Left:
		// What the history holds has been erased; its dead links stay by configuration.
	case now.Sub(s.EndedAt) < r.AskAgainAfter:
		r.sum.TooSoon++
	default:
		return true
	}
	return false
}

// submit submits users. A batch that is under way is finished when the watcher is stopped, so that no request is left
// without its task.
func (r *round) submit(ctx context.Context, submissions []purge.Submission) error {
	if len(submissions) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), acceptTimeout)
	defer cancel()
	accepted, err := r.Intake.Accept(ctx, submissions)
	for _, a := range accepted {
		r.sum.Asked++
		if a.Found != purge.FoundNew {
			r.sum.Again++
		}
	}
	if err != nil {
		return fmt.Errorf("requesting %d users: %w", len(submissions), err)
	}
	return nil
}
