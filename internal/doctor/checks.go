package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
)

// Run makes all checks and, with fix, mends what is safe to mend. Broken tasks are mended before ledger and Redis are
// compared: as long as one is there, the reconciler cannot ask for the depth of its queue, and a task that can never run
// looks alive.
func (d *Doctor) Run(ctx context.Context, fix bool) ([]Find, error) {
	return d.examine(ctx, fix, d.database, d.Clocks, d.server, d.queues, d.tasks, d.Lost, d.Needless)
}

// glanceLimit is how many waiting tasks there may be for a Glance to read every one.
const glanceLimit = 10_000

// Glance makes the checks and mends nothing. While many tasks wait it leaves out those that read every task, and whole is
// false.
func (d *Doctor) Glance(ctx context.Context) (finds []Find, whole bool, err error) {
	pending, err := d.Keeper.Pending(ctx)
	if err != nil {
		return nil, false, err
	}
	if pending > glanceLimit {
		finds, err = d.examine(ctx, false, d.database, d.Clocks, d.server, d.queues)
		return finds, false, err
	}
	finds, err = d.Run(ctx, false)
	return finds, true, err
}

// examine makes checks, in their order.
func (d *Doctor) examine(ctx context.Context, fix bool, checks ...func(context.Context) ([]Find, error)) ([]Find, error) {
	var all []Find
	broken := false // whether the ledger cannot be asked, which is a find already
	for _, check := range checks {
		finds, err := check(ctx)
		if err != nil && broken && purge.ClassOf(err) == purge.Misconfigured {
			continue
		}
		if err != nil {
			return nil, err
		}
		for i := range finds {
			broken = broken || finds[i].Kind == KindDatabase
			if !fix || finds[i].mend == nil {
				continue
			}
			if finds[i].Fixed, err = finds[i].mend(ctx); err != nil {
				return nil, err
			}
		}
		all = append(all, finds...)
	}
	return all, nil
}

// KindDatabase is the kind of finds about the database; with one of those, others may not be possible to look for.
const KindDatabase = "database_settings"

// database looks at rights, at the ledger's version and at the server's settings.
func (d *Doctor) database(ctx context.Context) ([]Find, error) {
	problems, err := d.Store.Problems(ctx)
	if err != nil {
		return nil, err
	}
	var finds []Find
	for _, problem := range problems {
		finds = append(finds, Find{
			Severity: Severe, Kind: KindDatabase, Subject: "MySQL",
			Text: "Workers refuse to start, or pause, because of this: " + problem.Error() + ".",
		})
	}
	excess, err := d.Store.ExcessRights(ctx)
	if err != nil {
		return nil, err
	}
	if len(excess) > 0 {
		finds = append(finds, Find{
			Severity: Warn, Kind: "rights_too_wide", Subject: "MySQL",
			Text: "The account may do more to the LMS database than clear references, so a mistake could do more too: " + listed(excess) +
				". Give it the rights of configs/mysql/grants.sql only.",
		})
	}
	return finds, nil
}

// mostSkew is how far clocks may differ.
const mostSkew = 5 * time.Second

// Clocks compares this machine's clock with those of the servers.
func (d *Doctor) Clocks(ctx context.Context) ([]Find, error) {
	var finds []Find
	for _, server := range []struct {
		name string
		read func(context.Context) (time.Time, error)
	}{{"MySQL", d.Store.Clock}, {"Redis", d.Queue.Clock}} {
		before := d.Now()
		theirs, err := server.read(ctx)
		if err != nil {
			return nil, err
		}
		after := d.Now()
		// How far theirs lies outside of the time that asking took; within it, nobody can tell.
		skew := max(before.Sub(theirs), theirs.Sub(after))
		if skew <= mostSkew {
			continue
		}
		way := "ahead of"
		if theirs.Before(before) {
			way = "behind"
		}
		finds = append(finds, Find{
			Severity: Warn, Kind: "clock_skew", Subject: server.name,
			Text: fmt.Sprintf("%s's clock is %.0f s %s this machine's. Leases, retries and dates are judged by several clocks, so tasks may run too early, too late or twice: let all machines follow NTP.",
				server.name, skew.Seconds(), way),
		})
	}
	return finds, nil
}

// server looks at Redis's settings.
func (d *Doctor) server(ctx context.Context) ([]Find, error) {
	return Settings(d.Queue.Version(ctx), queue.EvictionPolicy(ctx, d.Redis)), ctx.Err()
}

// Settings judges Redis's version and eviction policy; each is empty if the server does not tell.
func Settings(version, policy string) []Find {
	var finds []Find
	if queue.OldVersion(version) {
		finds = append(finds, Find{
			Severity: Severe, Kind: "redis_version", Subject: "Redis",
			Text: fmt.Sprintf("Redis has version %s; the queue needs commands that came with 6.2. Upgrade it.", version),
		})
	}
	switch policy {
	case "noeviction":
	case "":
		finds = append(finds, Find{
			Severity: Note, Kind: "eviction_policy_unknown", Subject: "Redis",
			Text: "Redis does not tell its maxmemory-policy, as some managed services do not. Make sure that it is noeviction: any other may throw tasks away.",
		})
	default:
		finds = append(finds, Find{
			Severity: Warn, Kind: "eviction_policy", Subject: "Redis",
			Text: fmt.Sprintf("Redis's maxmemory-policy is %s: when memory is short it throws away tasks, or halves of them that asynq never mends. Set it to noeviction.", policy),
		})
	}
	return finds
}

const (
	mostArchived  = 1_000
	mostCompleted = 100_000
)

// queues looks at each queue as a whole.
func (d *Doctor) queues(ctx context.Context) ([]Find, error) {
	conditions, err := d.Queue.Conditions(ctx)
	if err != nil {
		return nil, err
	}
	var finds []Find
	add := func(kind string, c queue.Condition, text string) *Find {
		finds = append(finds, Find{Severity: Warn, Kind: kind, Subject: "queue " + c.Queue, Text: text})
		return &finds[len(finds)-1]
	}
	for _, c := range conditions {
		if c.Used && !c.Registered {
			f := add("queue_unregistered", c, "The queue has tasks, but asynq's list of queues does not name it: dashboard, metrics and the reconciler do not see it. It was probably deleted in the dashboard while an enqueuer ran.")
			f.Fix = "put the queue into the list"
			f.mend = func(ctx context.Context) (bool, error) { return true, d.Queue.Register(ctx, c.Queue) }
		}
		if c.Paused {
			add("queue_paused", c, "The queue is paused: its tasks wait until somebody resumes it, in the dashboard for example.")
		}
		if c.Archived > mostArchived {
			add("archive_full", c, fmt.Sprintf("asynq's archive holds %d tasks; it drops what is above 9,999, and thousands that expire together jam the queue. The reconciler empties it: is a worker running? `enqueuer reconcile` does it now.", c.Archived))
		}
		if c.Completed > mostCompleted {
			add("completed_many", c, fmt.Sprintf("%d finished tasks are kept, about 0.6 KiB of memory each, and nothing bounds them. The ledger has the evidence: lower tasks.retention.", c.Completed))
		}
	}
	return finds, nil
}

// tasks looks for tasks that asynq cannot run and cannot mend.
func (d *Doctor) tasks(ctx context.Context) ([]Find, error) {
	broken, err := d.Queue.Examine(ctx)
	if err != nil {
		return nil, err
	}
	var finds []Find
	for _, b := range broken {
		text, ok := ailments[b.Ailment]
		if !ok {
			return nil, errors.New("an ailment without a name: " + string(b.Ailment))
		}
		finds = append(finds, Find{
			Severity: Severe, Kind: string(b.Ailment), Subject: subject(b), Text: text,
			Fix: fmt.Sprintf("forget %s; the reconciler makes a new one for each open request", count(b.Count(), "task", b.More)),
			mend: func(ctx context.Context) (bool, error) {
				mended, err := d.Queue.Mend(ctx, b)
				return mended == b.Count() && !b.More, err
			},
		})
	}
	return finds, nil
}

// ailments say what each is and why it matters.
var ailments = map[queue.Ailment]string{
	queue.Orphan:    "The task is stored, but in no list of its queue. It never runs, and its id stays taken: the user cannot be enqueued again.",
	queue.Leaseless: "The task counts as active, but no worker has a lease on it, and asynq recovers by leases only. It never ends, and its user is not purged.",
	queue.Dangling:  "A list of the queue names a task that is gone. The dashboard, the metrics and the reconciler fail on this queue as long as it is there.",
	queue.Stump:     "Of the task only a rest without content is left. It looks alive, but cannot run, and keeps its user from being enqueued again.",
}

// subject names the queue and the users of broken tasks.
func subject(b queue.Broken) string {
	users, foreign := b.Users()
	parts := make([]string, 0, 2)
	if len(users) > 0 {
		parts = append(parts, people(users, b.More))
	}
	if foreign > 0 {
		parts = append(parts, count(foreign, "task", false)+" of foreign ids")
	}
	return "queue " + b.Queue + ", " + strings.Join(parts, ", ")
}
