package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/queue/inspect"
	"github.com/certpurge/certpurge/internal/queue/presence"
)

// The servers that checks use.
const (
	serverMySQL = "MySQL"
	serverRedis = "Redis"
)

// check is one check and the servers that it needs; it is left out if one of them cannot be reached.
type check struct {
	run   func(context.Context) ([]Finding, error)
	needs []string
	every bool // it reads every task, or every request
}

// checks returns all of them. Tasks with a fault are dropped before ledger and Redis are compared, because some of them
// look like tasks that will run.
func (d *Doctor) checks() []check {
	mysql, redis, both := []string{serverMySQL}, []string{serverRedis}, []string{serverMySQL, serverRedis}
	return []check{
		{run: d.database, needs: mysql},
		{run: d.notifications, needs: mysql},
		{run: func(ctx context.Context) ([]Finding, error) { return d.Clocks(ctx, serverMySQL) }, needs: mysql},
		{run: d.keys, needs: redis},
		{run: d.refusal, needs: redis},
		{run: func(ctx context.Context) ([]Finding, error) { return d.Clocks(ctx, serverRedis) }, needs: redis},
		{run: d.server, needs: redis},
		{run: d.queues, needs: redis},
		{run: d.pausedWorkers, needs: redis},
		{run: d.noWorker, needs: both},
		{run: d.faults, needs: redis, every: true},
		{run: d.evidence, needs: mysql, every: true},
		{run: d.Lost, needs: both, every: true},
		{run: d.Needless, needs: both, every: true},
	}
}

// Run makes all checks and, with fix, fixes what is safe to fix. A server that cannot be reached is a finding, and an
// error beside the findings; a check that fails is a finding. The other checks are made all the same.
func (d *Doctor) Run(ctx context.Context, fix bool) ([]Finding, error) {
	return d.examine(ctx, fix, true)
}

// glanceLimit is how many tasks may wait for a Glance to read every one.
const glanceLimit = 10_000

// Glance makes the checks and fixes nothing. While many tasks wait it leaves out the checks that read every task, and
// whole is false.
func (d *Doctor) Glance(ctx context.Context) (findings []Finding, whole bool, err error) {
	pending, err := d.Keeper.Pending(ctx)
	if err != nil {
		return nil, false, err
	}
	whole = pending <= glanceLimit
	findings, err = d.examine(ctx, false, whole)
	return findings, whole, err
}

// examine makes the checks, in their order.
func (d *Doctor) examine(ctx context.Context, fix, whole bool) ([]Finding, error) {
	all, down, failure := d.unreachable(ctx)
	unfit := map[string]bool{} // servers with a finding that explains why a check fails
	for _, c := range d.checks() {
		if !whole && c.every || slices.ContainsFunc(c.needs, func(server string) bool { return down[server] }) {
			continue
		}
		findings, err := c.run(ctx)
		for i := range findings {
			if err == nil && fix && findings[i].fix != nil {
				findings[i].Fixed, err = findings[i].fix(ctx)
			}
			if findings[i].blocks && !findings[i].Fixed {
				unfit[findings[i].Subject] = true
			}
		}
		all = append(all, findings...)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil && !slices.ContainsFunc(c.needs, func(server string) bool { return unfit[server] }):
			for _, server := range c.needs { // reported once
				unfit[server] = true
			}
			all = append(all, Finding{
				Severity: Severe, Kind: "check_failed", Subject: strings.Join(c.needs, " and "),
				Text: "A check failed, so more may be wrong: " + err.Error() + ".",
			})
		}
	}
	return all, failure
}

// unreachable checks whether each server answers at all.
func (d *Doctor) unreachable(ctx context.Context) (findings []Finding, down map[string]bool, failure error) {
	down = map[string]bool{}
	add := func(server string, err error) {
		if err == nil {
			return
		}
		down[server], failure = true, cmp.Or(failure, err)
		findings = append(findings, Finding{
			Severity: Severe, Kind: "unreachable", Subject: server,
			Text: "No check that needs it was made: " + err.Error() + ".",
		})
	}
	add(serverMySQL, d.Store.Ping(ctx))
	add(serverRedis, queue.Ping(ctx, d.Redis))
	return findings, down, failure
}

// refusal tests whether Redis takes tasks.
func (d *Doctor) refusal(ctx context.Context) ([]Finding, error) {
	if odd, err := inspect.OddKeys(ctx, d.Redis); err == nil && len(odd) > 0 {
		return nil, nil // reported already
	}
	err := inspect.CheckPull(ctx, d.Redis)
	if err == nil {
		return nil, nil
	}
	return []Finding{{
		Severity: Severe, Kind: "redis_refuses", Subject: serverRedis, blocks: true,
		Text: "Redis answers, but no task can be put into it or taken from it: " + err.Error() + ".",
	}}, nil
}

// pausedWorkers reports workers that are paused.
func (d *Doctor) pausedWorkers(ctx context.Context) ([]Finding, error) {
	workers, err := presence.Workers(ctx, d.Redis)
	var findings []Finding
	for _, w := range workers {
		if w.State == presence.Paused {
			findings = append(findings, Finding{
				Severity: Warn, Kind: "worker_paused", Subject: "worker on " + w.Host,
				Text: "The worker " + w.String() + ". It continues by itself within 30 seconds once that is fixed.",
			})
		}
	}
	return findings, err
}

// noWorker reports requests that are due while no worker pulls tasks.
func (d *Doctor) noWorker(ctx context.Context) ([]Finding, error) {
	workers, err := presence.Workers(ctx, d.Redis)
	why := presence.NonePulls(workers)
	if err != nil || why == "" {
		return nil, err
	}
	open, err := d.Store.OpenRequests(ctx, purge.OpenRequest{}, d.Now().Add(time.Hour), 1) // touched at any time
	if err != nil || len(open) == 0 {
		return nil, err
	}
	return []Finding{{
		Severity: Severe, Kind: "no_worker", Subject: "workers",
		Text: "Requests are open, and " + why +
			". If one is running all the same, it uses another Redis, or another database number of it: compare redis.url.",
	}}, nil
}

// KindDatabase is the kind of findings about rights in the database and about its settings.
const KindDatabase = "database_settings"

// database checks rights, the version of the ledger and the settings of the server.
func (d *Doctor) database(ctx context.Context) ([]Finding, error) {
	problems, err := d.Store.Problems(ctx, d.Role)
	if err != nil {
		return nil, err
	}
	var findings []Finding
	for _, problem := range problems {
		findings = append(findings, Finding{
			Severity: Severe, Kind: KindDatabase, Subject: serverMySQL, blocks: true,
			Text: "No purge can be recorded, and some checks fail, because of this: " + problem.Error() + ".",
		})
	}
	excess, err := d.Store.ExcessRights(ctx, d.Role)
	if err != nil {
		return nil, err
	}
	if len(excess) > 0 {
		findings = append(findings, Finding{
			Severity: Warn, Kind: "rights_too_wide", Subject: "MySQL",
			Text: "The " + string(d.Role) + "'s account may do more than it needs, so a mistake or a stolen password " +
				"could, too: " + listed(excess) +
				". Give it the rights of configs/mysql/grants.sql only; worker and enqueuer have one each.",
		})
	}
	superseded, err := d.Store.SupersededIndexes(ctx)
	if err != nil {
		return nil, err
	}
	if len(superseded) > 0 {
		findings = append(findings, Finding{
			Severity: Note, Kind: "superseded_indexes", Subject: "MySQL",
			Text: "The ledger's table requests has indexes that only programs of an earlier version use, and every request " +
				"pays for them: " + listed(superseded) + ". Once no such program runs any more, run `enqueuer migrate " +
				"--revoke-superseded`, which drops them.",
		})
	}
	return findings, nil
}

// evidence searches for evidence that was changed after it was written.
func (d *Doctor) evidence(ctx context.Context) ([]Finding, error) {
	ids, err := d.Store.ChangedEvidence(ctx, d.AllEvidence)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	const shown = 10
	var names []string
	for _, id := range ids[:min(len(ids), shown)] {
		names = append(names, fmt.Sprint(id))
	}
	if len(ids) > shown {
		names = append(names, fmt.Sprintf("and %d more", len(ids)-shown))
	}
	return []Finding{{
		Severity: Severe, Kind: "evidence_changed", Subject: "requests " + strings.Join(names, ", "),
		Text: "Their evidence is not as it was written: `enqueuer verify` says what was changed, removed or added. Compare " +
			"it with a backup of the ledger, and find out who has the password of an account that may write there.",
	}}, nil
}

// maxSkew is how far clocks may differ.
const maxSkew = 5 * time.Second

// Clocks compares this machine's clock with the clocks of servers.
func (d *Doctor) Clocks(ctx context.Context, servers ...string) ([]Finding, error) {
	var findings []Finding
	for _, server := range servers {
		read := func(ctx context.Context) (time.Time, error) { return d.Redis.Time(ctx).Result() }
		if server == serverMySQL {
			read = d.Store.Clock
		}
		before := d.Now()
		theirs, err := read(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading %s's clock: %w", server, err)
		}
		if finding, differs := CompareClocks(server, before, theirs, d.Now()); differs {
			findings = append(findings, finding)
		}
	}
	return findings, nil
}

// CompareClocks compares the clock of a server with two readings of this machine's clock, before and after.
func CompareClocks(server string, before, theirs, after time.Time) (finding Finding, differs bool) {
	// How far theirs lies outside of the two readings. A difference within them cannot be measured.
	skew := max(before.Sub(theirs), theirs.Sub(after))
	if skew <= maxSkew {
		return Finding{}, false
	}
	way := "ahead of"
	if theirs.Before(before) {
		way = "behind"
	}
	return Finding{
		Severity: Warn, Kind: "clock_skew", Subject: server,
		Text: fmt.Sprintf("%s's clock is %.0f s %s this machine's. Leases, retries and dates depend on several clocks, so "+
			"tasks may run too early, too late or twice: let all machines follow NTP.", server, skew.Seconds(), way),
	}, true
}

// server checks Redis's settings.
func (d *Doctor) server(ctx context.Context) ([]Finding, error) {
	return Settings(inspect.Version(ctx, d.Redis), inspect.EvictionPolicy(ctx, d.Redis)), ctx.Err()
}

// Settings checks Redis's version and eviction policy; each is empty if the server does not report it.
func Settings(version, policy string) []Finding {
	var findings []Finding
	if inspect.OldVersion(version) {
		findings = append(findings, Finding{
			Severity: Severe, Kind: "redis_version", Subject: "Redis",
			Text: fmt.Sprintf("Redis has version %s; the queue needs commands that came with 6.2. Upgrade it.", version),
		})
	}
	switch policy {
	case "noeviction":
	case "":
		findings = append(findings, Finding{
			Severity: Note, Kind: "eviction_policy_unknown", Subject: "Redis",
			Text: "Redis does not report its maxmemory-policy, as some managed services do not. Make sure that it is " +
				"noeviction: any other may delete tasks.",
		})
	default:
		findings = append(findings, Finding{
			Severity: Warn, Kind: "eviction_policy", Subject: "Redis",
			Text: fmt.Sprintf("Redis's maxmemory-policy is %s: when memory is short it deletes tasks, or parts of them. "+
				"Set it to noeviction.", policy),
		})
	}
	return findings
}

const (
	maxArchived  = 1_000
	maxCompleted = 100_000
)

// queues checks each queue as a whole.
func (d *Doctor) queues(ctx context.Context) ([]Finding, error) {
	unregistered, err := inspect.Unregistered(ctx, d.Redis)
	if err != nil {
		return nil, err
	}
	depths, err := inspect.Depths(ctx, d.Redis)
	var findings []Finding
	add := func(kind, name, text string) *Finding {
		findings = append(findings, Finding{Severity: Warn, Kind: kind, Subject: "queue " + name, Text: text})
		return &findings[len(findings)-1]
	}
	for _, name := range unregistered {
		f := add("queue_unregistered", name, "The queue has tasks, but asynq's list of queues does not name it, so "+
			"dashboard and metrics do not show it. It was probably deleted in the dashboard while an enqueuer ran.")
		f.Fix = "put the queue into the list"
		f.fix = func(ctx context.Context) (bool, error) { return true, inspect.Register(ctx, d.Redis, name) }
	}
	for _, q := range depths {
		if q.Paused {
			add("queue_paused", q.Queue, "The queue is paused: its tasks wait until an operator resumes it, in the dashboard "+
				"for example.")
		}
		if q.Archived > maxArchived {
			add("archive_full", q.Queue, fmt.Sprintf("asynq's archive holds %d tasks; it drops what is above 9,999, and "+
				"thousands that expire together jam the queue. The reconciler empties it: is a worker running? `enqueuer "+
				"reconcile` does it now.", q.Archived))
		}
		if q.Completed > maxCompleted {
			add("completed_many", q.Queue, fmt.Sprintf("%d finished tasks are kept, about 0.6 KiB of memory each, and nothing "+
				"bounds them. The ledger has the evidence: lower tasks.retention.", q.Completed))
		}
	}
	return findings, err
}

// keys searches for keys of a wrong type, on which every command of asynq fails.
func (d *Doctor) keys(ctx context.Context) ([]Finding, error) {
	odd, err := inspect.OddKeys(ctx, d.Redis)
	var findings []Finding
	for _, k := range odd {
		findings = append(findings, Finding{
			Severity: Severe, Kind: "key_of_wrong_type", Subject: serverRedis, blocks: true,
			Text: "Queues or workers cannot be used: " + k.String() +
				". Another program, or an operator by hand, wrote to this database number.",
			Fix: "remove the key; asynq makes lists and counters anew, and the reconciler tasks",
			fix: func(ctx context.Context) (bool, error) { return inspect.RemoveOddKey(ctx, d.Redis, k) },
		})
	}
	return findings, err
}

// faults searches for tasks that asynq cannot run.
func (d *Doctor) faults(ctx context.Context) ([]Finding, error) {
	faults, err := inspect.Faults(ctx, d.Redis)
	var findings []Finding
	for _, f := range faults {
		findings = append(findings, Finding{
			Severity: Severe, Kind: string(f.Kind), Subject: subject(f), Text: faultTexts[f.Kind],
			Fix: fmt.Sprintf("drop %s; the reconciler makes a new one for each open request",
				count(len(f.IDs), "task", f.More)),
			fix: func(ctx context.Context) (bool, error) { return !f.More, f.Drop(ctx, d.Redis) },
		})
	}
	return findings, err
}

// faultTexts say what each kind of fault is and why it matters.
var faultTexts = map[inspect.Kind]string{
	inspect.Unlisted: "The task is stored, but in no list of its queue. It never runs, and its ID stays taken: the user " +
		"cannot be enqueued again.",
	inspect.NoLease: "The task counts as active, but no worker has a lease on it, and asynq recovers by leases only. It " +
		"never ends, and its user is not purged.",
	inspect.NoTask: "A list of the queue names a task that is gone. The dashboard and asynq's metrics fail on " +
		"this queue " +
		"as long as it is there.",
	inspect.NoMessage: "The task has lost its content. It counts as active or pending, but cannot run, and keeps its " +
		"user from being enqueued again.",
}

// subject names the queue and the users of tasks with a fault.
func subject(f inspect.Fault) string {
	users, foreign := f.Users()
	parts := make([]string, 0, 2)
	if len(users) > 0 {
		parts = append(parts, people(users, f.More))
	}
	if foreign > 0 {
		parts = append(parts, count(foreign, "task", false)+" of foreign ids")
	}
	return "queue " + f.Queue + ", " + strings.Join(parts, ", ")
}
