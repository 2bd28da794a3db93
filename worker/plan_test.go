package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/sandbox/demo"
	"github.com/certpurge/certpurge/internal/sandbox/demo/dataset"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// objectKey names a generation.
type objectKey struct {
	bucket, name string
	generation   int64
}

// previewed is what a plan, or the evidence of a purge, says of a user.
type previewed struct {
	State   purge.State
	Reason  purge.Reason
	Cleared int
	Objects map[objectKey]purge.Outcome
}

func (p planned) previewed() previewed {
	f := previewed{State: p.State, Reason: p.Reason, Cleared: p.Cleared, Objects: map[objectKey]purge.Outcome{}}
	for _, d := range p.Directories {
		if d.Outcome != "" {
			f.Objects[objectKey{d.Bucket, d.Directory, 0}] = d.Outcome
		}
		for _, o := range d.Objects {
			f.Objects[objectKey{d.Bucket, o.Name, o.Generation}] = o.Outcome
		}
	}
	return f
}

// TestPlanPreviewsThePurge plans all users of the demo's site, purges them, and compares each plan with the
// evidence, object by object. Planning changes nothing: neither a statement nor a request that writes was sent.
func TestPlanPreviewsThePurge(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	env, err := demo.OpenEnvironment(ctx)
	must(t, err)
	t.Cleanup(env.Close)
	data := dataset.New(1, 1000)
	want, err := data.Seed(ctx, env.Root, demo.LMSDatabase, env.Storage, env.StorageURL)
	must(t, err)
	environ := []string{"CERTPURGE_MYSQL_DSN=" + env.WorkerDSN, "CERTPURGE_REDIS_URL=" + env.RedisURL}
	cfg, locations, err := load(env.Path(demo.WorkerFile), environ)
	must(t, err)
	root := cfg.MySQL
	root.DSN = config.NewSecret(env.Servers.MySQL.SocketDSN("root", "", demo.LedgerDatabase))
	store, err := cli.OpenStore(root, cfg.LMS)
	must(t, err)
	t.Cleanup(func() { _ = store.Close() })
	_, err = store.Migrate(ctx)
	must(t, err)
	must(t, store.Grant(ctx, mysql.RoleWorker, "certpurge_worker@127.0.0.1"))
	must(t, store.WalkOwners(ctx, ownersAgain, func(mysql.Walk) {})) // as every worker does before it purges

	args := []string{"--config", env.Path(demo.WorkerFile), "plan", "-o", "json"}
	users := slices.Sorted(maps.Keys(want.Ends))
	for _, id := range users {
		args = append(args, strconv.Itoa(id))
	}
	statements, before := written(t, env), env.Storage.Stats()
	var out, errOut bytes.Buffer
	code := cli.Execute(ctx, newCommand, cli.Streams{Out: &out, Err: &errOut, Environ: environ}, args)
	if code != cli.ExitNotDone || !strings.Contains(errOut.String(), "would not be done") {
		t.Fatalf("got exit code %d: %s", code, errOut.String())
	}
	if again := written(t, env); !maps.Equal(statements, again) {
		t.Errorf("planning wrote: %v", cmp.Diff(statements, again))
	}
	calls := env.Storage.Stats()
	if calls.Requests()-before.Requests() != calls.Lists-before.Lists+calls.BucketGets-before.BucketGets+
		calls.PermissionTests-before.PermissionTests {
		t.Errorf("planning asked the bucket for more than listings and settings: %+v, before %+v", calls, before)
	}
	plans := map[purge.UserID]previewed{}
	for decoder := json.NewDecoder(&out); decoder.More(); {
		var p planned
		must(t, decoder.Decode(&p))
		plans[p.UserID] = p.previewed()
	}

	done := make(chan error, 1)
	working, stop := context.WithCancel(ctx)
	t.Cleanup(stop)
	go func() { done <- run(working, cfg, locations, nil, slog.New(slog.DiscardHandler)) }()
	rdb, err := queue.NewRedis(config.Redis{URL: config.NewSecret(env.RedisURL)})
	must(t, err)
	t.Cleanup(func() { _ = rdb.Close() })
	intake := purge.Intake{Requests: store, Tasks: queue.NewClient(rdb, queue.Live, config.Tasks{Timeout: time.Minute})}
	for part := range slices.Chunk(users, 500) {
		var all []purge.Submission
		for _, id := range part {
			all = append(all, purge.Submission{
				User: purge.UserID(id), Key: purge.DefaultKey(purge.UserID(id)),
				Source: purge.SourceCLI,
			})
		}
		_, err := intake.Accept(ctx, all)
		must(t, err)
	}
	ended := map[purge.UserID]previewed{}
	sandboxtest.Eventually(t, "all requests have ended, or wait for a date", func() bool {
		must(t, store.EachRequest(ctx, mysql.Filter{}, func(page []mysql.Request) error {
			for _, r := range page {
				if r.State.Ended() || r.Reason == purge.ReasonRetained && r.State == purge.Queued {
					ended[r.UserID] = previewed{
						State: r.State, Reason: r.Reason, Cleared: r.ReferencesCleared,
						Objects: map[objectKey]purge.Outcome{},
					}
				}
			}
			return nil
		}))
		return len(ended) == len(users)
	})
	stop()
	must(t, <-done)
	must(t, store.EachEvidence(ctx, mysql.EvidenceFilter{}, func(e mysql.EvidenceRecord) error {
		if e.Kind == "object" && e.Outcome != purge.External {
			ended[e.UserID].Objects[objectKey{e.Bucket, e.Name, e.Generation}] = e.Outcome
		}
		return nil
	}))
	for user, got := range ended {
		if diff := cmp.Diff(got, plans[user]); diff != "" {
			t.Errorf("user %d: what was done (-), and what was planned (+):\n%s", user, diff)
		}
	}
	if len(plans) != len(users) {
		t.Errorf("got %d plans for %d users", len(plans), len(users))
	}
}

// written counts the statements that write and the writing commands that the servers of a house have seen.
func written(t *testing.T, env *demo.Environment) map[string]string {
	t.Helper()
	counted := map[string]string{}
	rows, err := env.Root.QueryContext(t.Context(), "SHOW GLOBAL STATUS WHERE Variable_name IN"+
		" ('Com_insert', 'Com_insert_select', 'Com_update', 'Com_update_multi', 'Com_delete', 'Com_replace', 'Com_begin', "+
		"'Com_commit', 'Com_lock_tables')")
	must(t, err)
	defer rows.Close()
	for rows.Next() {
		var name, value string
		must(t, rows.Scan(&name, &value))
		counted[name] = value
	}
	must(t, rows.Err())
	rdb, err := queue.NewRedis(config.Redis{URL: config.NewSecret(env.RedisURL)})
	must(t, err)
	defer rdb.Close()
	info, err := rdb.DBSize(t.Context()).Result()
	must(t, err)
	counted["keys in Redis"] = strconv.FormatInt(info, 10)
	return counted
}
