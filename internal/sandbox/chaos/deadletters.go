package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/demo/dataset"
)

// DeadLetterTable is what the scenario of the dead letters has counted.
type DeadLetterTable struct {
	Users        int   `json:"users"`         // asked for
	Failed       int   `json:"failed"`        // for the missing right, by enqueuer failures
	Others       int   `json:"others"`        // that ended otherwise: they have no file that could be deleted
	ArchiveMax   int64 `json:"archive_most"`  // tasks in asynq's archive at any moment
	ArchiveLooks int   `json:"archive_looks"` // how often it was looked at
	Requeued     int   `json:"requeued"`      // by enqueuer requeue
	Done         int   `json:"done"`          // of those, in the end
	// of those, in the end: by a hold, a date, or a reference that is not understood
	Blocked       int     `json:"blocked"`
	FailSeconds   float64 `json:"fail_seconds"`   // from the first request to the last failure
	MendedSeconds float64 `json:"mended_seconds"` // from the requeue to the last end
}

// deadLetters withdraws the right to delete any object, as a condition on the names of objects does: the bucket's own
// answer does not show it, so no worker can know that all users are concerned, and every user fails. Then the right
// comes back, and one command has to make all requests done.
func (r *run) deadLetters(ctx context.Context) error {
	r.dead = &DeadLetterTable{}
	archived := r.watchArchive(ctx)
	defer archived()
	r.storage.set(DeadLetters, gcstest.Fault{Op: gcstest.OpDelete, Status: 403})
	begun := time.Now()
	users := r.data.Enqueued()
	r.dead.Users = len(users)
	if !r.enqueue(ctx, users) {
		return context.Cause(ctx)
	}
	r.printf("  %6.1fs  %d users are asked for, and nothing may be deleted\n", time.Since(r.begun).Seconds(), len(users))
	r.await(ctx, r.unsettled)
	r.dead.FailSeconds = rounded(time.Since(begun))
	if err := r.judgeFailures(ctx); err != nil {
		return err
	}
	r.storage.set(DeadLetters)
	begun = time.Now()
	if err := r.requeueFailures(ctx); err != nil {
		return err
	}
	r.printf("  %6.1fs  the right is back, %d requests are queued again\n", time.Since(r.begun).Seconds(), r.dead.Requeued)
	r.quiesce(ctx)
	r.dead.MendedSeconds = rounded(time.Since(begun))
	archived()
	if r.askedAgain > 0 {
		r.tally.violate("%d users were asked for again: queueing the failed requests again must be enough", r.askedAgain)
	}
	return r.countDone(ctx)
}

// mustFail are the users who must fail for the missing right: those of whom anything is to be deleted.
func (r *run) mustFail() map[int]bool {
	users := map[int]bool{}
	for _, user := range r.want.Erased {
		users[user] = true
	}
	return users
}

// judgeFailures compares how the requests ended, and what the operator's command says, with what the site's author
// expects.
func (r *run) judgeFailures(ctx context.Context) error {
	s, err := r.standing(ctx)
	if err != nil {
		return err
	}
	mustFail, want := r.mustFail(), map[purge.Reason]int{}
	for user, end := range r.want.Ends {
		if mustFail[user] {
			end = dataset.End{State: purge.Failed, Reason: purge.ReasonNoPermission}
		} else {
			r.dead.Others++
		}
		if end.State == purge.Failed {
			want[end.Reason]++
		}
		if got := s.known[user]; got != end {
			r.tally.violate("user %d is %s while nothing may be deleted, expected %s", user, name(got), name(end))
		}
	}
	var said struct {
		Failures map[purge.Reason]int `json:"failures"`
	}
	if err := r.answer(ctx, &said, "failures", "--by-reason", "-o", "json"); err != nil {
		return err
	}
	if !maps.Equal(said.Failures, want) {
		r.tally.violate("enqueuer failures says %v, expected %v", said.Failures, want)
	}
	r.dead.Failed = said.Failures[purge.ReasonNoPermission]
	return nil
}

// requeueFailures queues what failed for the missing right again, after a look at what that would be.
func (r *run) requeueFailures(ctx context.Context) error {
	var would, did struct {
		Found    int `json:"found"`
		Requeued int `json:"requeued"`
	}
	requeue := []string{"requeue", "--reason", string(purge.ReasonNoPermission), "-o", "json"}
	if err := r.answer(ctx, &would, requeue...); err != nil {
		return err
	}
	if err := r.answer(ctx, &did, append(requeue, "--execute")...); err != nil {
		return err
	}
	r.dead.Requeued = did.Requeued
	if mustFail := len(r.mustFail()); would.Found != mustFail || would.Requeued != 0 || did.Requeued != mustFail {
		r.tally.violate("enqueuer requeue would queue %d, and queued %d again (%d as a dry run), expected %d, %d and none",
			would.Found, did.Requeued, would.Requeued, mustFail, mustFail)
	}
	return nil
}

// countDone counts how those who had failed stand in the end. Whether they should, the look at the end judges.
func (r *run) countDone(ctx context.Context) error {
	s, err := r.standing(ctx)
	if err != nil {
		return err
	}
	for user := range r.mustFail() {
		if s.known[user].State == purge.Done {
			r.dead.Done++
		} else if s.known[user] == r.want.Ends[user] {
			r.dead.Blocked++
		}
	}
	return nil
}

// answer runs an enqueuer and reads what it prints.
func (r *run) answer(ctx context.Context, into any, args ...string) error {
	var out bytes.Buffer
	if _, err := r.runEnqueuer(ctx, &out, r.env.EnqueuerDSN, args...); err != nil {
		return err
	}
	if err := json.Unmarshal(out.Bytes(), into); err != nil {
		return fmt.Errorf("reading the answer of enqueuer %s: %w", args[0], err)
	}
	return nil
}

// archiveEvery is how often asynq's archive is looked at.
const archiveEvery = 20 * time.Millisecond

// watchArchive looks at asynq's archive until the returned function is called. The archive drops tasks silently, so
// none may be in it: what failed is in the ledger.
func (r *run) watchArchive(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		for purge.Sleep(ctx, archiveEvery) {
			archived := int64(0)
			for _, name := range r.redis.SMembers(ctx, "asynq:queues").Val() {
				archived += r.redis.ZCard(ctx, "asynq:{"+name+"}:archived").Val()
			}
			r.dead.ArchiveLooks++
			r.dead.ArchiveMax = max(r.dead.ArchiveMax, archived)
		}
	})
	return sync.OnceFunc(func() {
		cancel()
		watching.Wait()
		if r.dead.ArchiveMax > 0 || r.dead.ArchiveLooks == 0 {
			r.tally.violate("asynq's archive held up to %d tasks (%d looks), expected none", r.dead.ArchiveMax,
				r.dead.ArchiveLooks)
		}
	})
}
