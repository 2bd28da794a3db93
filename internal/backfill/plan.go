package backfill

import (
	"context"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// Previewer is what a dry run reads. It changes nothing.
type Previewer interface {
	// Preview says what Accept would answer.
	Preview(ctx context.Context, submissions []purge.Submission) ([]purge.Accepted, error)
	// Users reads eligibility and references; users that the LMS does not have are missing.
	Users(ctx context.Context, ids []purge.UserID) (map[purge.UserID]purge.User, error)
}

// Plan is what a run would do.
type Plan struct {
	Users int                 `json:"users"` // would be submitted
	Found map[purge.Found]int `json:"found"` // of those, what the submission would meet
	// of those, done before and with nothing left to do
	Closed       int                  `json:"already_done"`
	Refused      map[purge.Reason]int `json:"refused"`      // of those, whom a worker would refuse
	NoReference  int                  `json:"no_reference"` // of those, nothing to purge
	Certificates int                  `json:"certificates"` // of those who would be purged
	Files        int                  `json:"files"`        // at most: see purge.Expect
	// references from which no file can be named: these users would fail
	Odd            int                             `json:"unrecognised"`
	Samples        []purge.UserID                  `json:"sample_users"`   // the first who would be purged
	RefusedSamples map[purge.Reason][]purge.UserID `json:"sample_refused"` // the first who would be refused
	Capped         bool                            `json:"capped"`         // there are more than --max-users
	Earlier        int                             `json:"users_of_earlier"`
	Complete       bool                            `json:"-"` // the checkpoint says that nothing is left
}

// samples is how many ids of each kind are shown.
const samples = 5

// Preview reads the source as Run would, and changes nothing.
func (r *Runner) Preview(ctx context.Context, lms Previewer, policy purge.Policy) (Plan, error) {
	plan := Plan{
		Found: map[purge.Found]int{}, Refused: map[purge.Reason]int{},
		RefusedSamples: map[purge.Reason][]purge.UserID{},
	}
	var after int64
	if r.Checkpoint != nil {
		after, plan.Earlier, plan.Complete = r.Checkpoint.Position, r.Checkpoint.Users, r.Checkpoint.Complete
	}
	if plan.Complete {
		return plan, nil
	}
	next, stop := iter.Pull2(r.Source.Items(ctx, after))
	defer stop()
	for {
		batch, err := r.collect(next, r.room(Summary{Users: plan.Users}, purge.MaxBatch))
		if err != nil {
			return plan, err
		}
		if len(batch) == 0 {
			if r.room(Summary{Users: plan.Users}, 1) == 0 {
				_, err, plan.Capped = next()
			}
			return plan, err
		}
		if err := plan.add(ctx, lms, policy, batch); err != nil {
			return plan, err
		}
		r.Status.advance(Summary{Users: plan.Users}, r.share(Summary{
			Users:    plan.Users,
			Position: batch[len(batch)-1].Position,
		}))
	}
}

// add checks one batch.
func (p *Plan) add(ctx context.Context, lms Previewer, policy purge.Policy, batch []Item) error {
	submissions, ids := make([]purge.Submission, len(batch)), make([]purge.UserID, len(batch))
	for i, item := range batch {
		submissions[i], ids[i] = item.Submission, item.Submission.User
	}
	previewed, err := lms.Preview(ctx, submissions)
	if err != nil {
		return err
	}
	users, err := lms.Users(ctx, ids)
	if err != nil {
		return err
	}
	for _, a := range previewed {
		p.Users++
		p.Found[a.Found]++
		user := users[a.User]
		reason := policy.Refusal(user.Retirement)
		switch {
		case !a.Open:
			p.Closed++
		case reason != purge.ReasonNone:
			p.Refused[reason]++
			p.RefusedSamples[reason] = sample(p.RefusedSamples[reason], a.User)
		case len(user.Of(a.Certificate)) == 0:
			p.NoReference++
		default:
			expected := purge.Expect(user.Of(a.Certificate))
			p.Certificates, p.Files, p.Odd = p.Certificates+expected.Certificates, p.Files+expected.Files, p.Odd+expected.Odd
			p.Samples = sample(p.Samples, a.User)
		}
	}
	return nil
}

func sample(ids []purge.UserID, id purge.UserID) []purge.UserID {
	if len(ids) < samples && !slices.Contains(ids, id) {
		ids = append(ids, id)
	}
	return ids
}

// Estimate is how long submitting this number of users takes at a rate.
func Estimate(users int, perSecond float64) time.Duration {
	return time.Duration(math.Ceil(float64(users)/perSecond)) * time.Second
}
