package console

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/doctor"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/queue/inspect"
	"github.com/certpurge/certpurge/internal/queue/presence"
)

// Real makes sources of the servers that a process has open, with the account of a role. The policy says who may be
// purged. The settings of tasks are those of the doctor's keeper; the page itself puts no task into Redis.
func Real(store *mysql.Store, role mysql.Role, rdb redis.UniversalClient, problems func(context.Context) []string,
	policy purge.Policy, tasks config.Tasks,
) Sources {
	d := doctor.Doctor{
		Store: store, Role: role, Redis: rdb, Keeper: inspect.NewKeeper(rdb, tasks), Grace: 2 * time.Minute, Now: time.Now,
	}
	s := Sources{
		Ledger: store, Queues: asynqs{rdb}, Problems: problems, Records: store, Refusal: policy.Refusal,
		Coverage: func(ctx context.Context) ([]Uncovered, error) { return uncovered(ctx, store, policy.Eligible) },
		Doctor: func(ctx context.Context) (Diagnosis, error) {
			findings, whole, err := d.Glance(ctx)
			return Diagnosis{Findings: findings, Whole: whole}, err
		},
	}
	if role == mysql.RoleEnqueuer { // the worker's account may not
		s.Operations = operations{
			store: store, redis: rdb, doctor: d, keeper: inspect.NewKeeper(rdb, tasks),
			intake: purge.Intake{Requests: store, Tasks: queue.NewClient(rdb, queue.Live, tasks)},
		}
	}
	return s
}

// asynqs is the queues in Redis.
type asynqs struct{ redis redis.UniversalClient }

func (a asynqs) Backlog(ctx context.Context) ([]inspect.Depth, error) {
	return inspect.Depths(ctx, a.redis)
}

func (a asynqs) Statistics(context.Context) error {
	return inspect.Statistics(a.redis)
}

func (a asynqs) EvictionPolicy(ctx context.Context) string {
	return inspect.EvictionPolicy(ctx, a.redis)
}

func (a asynqs) Workers(ctx context.Context) ([]presence.Worker, error) {
	return presence.Workers(ctx, a.redis)
}

// maxUncovered is how many users of a class are kept for the page that lists them.
const maxUncovered = 1_000

// uncovered counts retiring users who still have links.
func uncovered(ctx context.Context, store *mysql.Store, eligible func(purge.Retirement) bool) ([]Uncovered, error) {
	type class struct {
		state  purge.State
		reason purge.Reason
	}
	of := map[class]*Uncovered{}
	err := store.EachUncovered(ctx, eligible, func(u mysql.Uncovered) error {
		key := class{u.State, u.Reason}
		if of[key] == nil {
			of[key] = &Uncovered{State: u.State, Reason: u.Reason}
		}
		if of[key].Users++; of[key].Users <= maxUncovered {
			of[key].IDs = append(of[key].IDs, u.User)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var all []Uncovered
	for _, u := range of {
		all = append(all, *u)
	}
	slices.SortFunc(all, func(a, b Uncovered) int {
		return cmp.Or(cmp.Compare(a.State, b.State), cmp.Compare(a.Reason, b.Reason))
	})
	return all, nil
}
