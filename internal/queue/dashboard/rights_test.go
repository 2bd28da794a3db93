package dashboard_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/configs"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/queue/dashboard"
	"github.com/certpurge/certpurge/internal/queue/inspect"
	"github.com/certpurge/certpurge/internal/queue/presence"
	"github.com/certpurge/certpurge/internal/queue/queuetest"
	"github.com/certpurge/certpurge/internal/sandbox"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// guarded is a Redis with the accounts of configs/redis/users.acl.
type guarded struct {
	*testing.T

	server *sandbox.Redis
	root   redis.UniversalClient // may do everything
	used   map[string]bool       // commands that were not root's
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	file := filepath.Join(t.TempDir(), "users.acl")
	text := configs.RedisUsers + "user root on >pw ~* &* +@all\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	g := &guarded{T: t, used: map[string]bool{}}
	g.server = sandboxtest.OwnRedis(t, sandbox.Options{RedisArguments: []string{"--aclfile", file}})
	g.root = queuetest.Open(t, "redis://root:pw@"+g.server.Addr+"/0")
	return g
}

// as connects with the account of a role.
func (g *guarded) as(role string) redis.UniversalClient {
	g.Helper()
	return queuetest.Open(g.T, "redis://certpurge_"+role+":change-me-"+role+"@"+g.server.Addr+"/0")
}

var statistic = regexp.MustCompile(`(?m)^cmdstat_([^:]+):calls=[1-9]`) // not those that were only refused

// count notes the commands that act sends; what root has sent before does not count.
func (g *guarded) count(act func()) {
	g.Helper()
	if err := g.root.ConfigResetStat(g.Context()).Err(); err != nil {
		g.Fatal(err)
	}
	act()
	for _, match := range statistic.FindAllStringSubmatch(g.root.Info(g.Context(), "commandstats").Val(), -1) {
		g.used[match[1]] = true
	}
}

// granted returns the commands that an account may send, by the file.
func granted(role string) []string {
	_, line, _ := strings.Cut(configs.RedisUsers, "user certpurge_"+role+" ")
	line, _, _ = strings.Cut(line, "\n")
	var commands []string
	for rule := range strings.FieldsSeq(line) {
		// The commands about a connection itself differ between versions: the file grants all that are harmless.
		if command, ok := strings.CutPrefix(rule, "+"); ok && command != "@connection" {
			commands = append(commands, command)
		}
	}
	return commands
}

// elsewhere are commands that only other servers than this one are sent: those of a Cluster. The tests of make shapes
// send them.
var elsewhere = []string{"cluster|slots", "cluster|info", "cluster|nodes", "cluster|keyslot"}

// check compares what was used with what is granted, in both directions.
func (g *guarded) check(role string) {
	g.Helper()
	for _, command := range granted(role) {
		if !g.used[command] && !slices.Contains(elsewhere, command) {
			g.Errorf("%s: %s is granted, and not needed", role, command)
		}
	}
	entries, err := g.root.ACLLog(g.Context(), 100).Result()
	if err != nil {
		g.Fatal(err)
	}
	if role == "reader" { // asynq reads its list of servers by a script that also tidies it: presence does without
		entries = slices.DeleteFunc(entries, func(e *redis.ACLLogEntry) bool { return e.Object == "eval" || e.Object == "evalsha" })
	}
	for _, entry := range entries {
		g.Errorf("%s: %s is refused to %s (%s, %s)", role, entry.Object, entry.Username, entry.Reason, entry.Context)
	}
	if g.Failed() {
		g.Logf("used: %v", slices.Sorted(maps.Keys(g.used)))
	}
}

// submit does all that a program does that puts tasks into queues and keeps them in order.
func (g *guarded) submit(rdb redis.UniversalClient) {
	g.Helper()
	ctx := g.Context()
	fine := func(what string, err error) {
		g.Helper()
		if err != nil {
			g.Errorf("%s: %v", what, err)
		}
	}
	release := queuetest.Ward{T: g.T, Redis: g.root}.Fill()
	g.announce(g.root)
	g.count(func() {
		fine("checking", inspect.Check(ctx, rdb))
		for user := range purge.UserID(6) { // new, and in every state
			enqueue(g.T, rdb, purge.Task{Request: purge.RequestID(user + 100), User: user + 1})
		}
		enqueue(g.T, rdb, task42)
		_, err := inspect.Depths(ctx, rdb)
		fine("counting", err)
		_, err = inspect.Waiting(ctx, rdb, queue.Live, time.Now())
		fine("counting what waits", err)
		fine("asynq's statistics", inspect.Statistics(rdb))
		_, err = presence.Workers(ctx, rdb)
		fine("reading the workers", err)
		_, err = inspect.Standstill(ctx, rdb, queue.Live)
		fine("asking why none works", err)
		if inspect.Version(ctx, rdb) == "" || inspect.EvictionPolicy(ctx, rdb) == "" || inspect.Persistence(ctx, rdb) == "" {
			g.Error("the settings of Redis cannot be read")
		}
		keeper := inspect.NewKeeper(rdb, queuetest.TaskSettings)
		missing, err := keeper.Missing(ctx, []purge.OpenRequest{{Request: 77, User: 77}})
		fine("looking for lost tasks", err)
		fine("putting them back", keeper.Restore(ctx, missing))
		_, err = keeper.Pending(ctx)
		fine("counting pending tasks", err)
		_, err = keeper.Clean(ctx)
		fine("cleaning", err)
		for _, err := range inspect.WaitingUsers(ctx, rdb) {
			fine("reading whose tasks wait", err)
		}
		fine("registering a queue", inspect.Register(ctx, rdb, queue.Live))
		_, err = inspect.Unregistered(ctx, rdb)
		fine("looking for queues", err)
		fine("dropping", inspect.Fault{Queue: queue.Live, IDs: []string{"purge:4"}}.Drop(ctx, rdb))
	})
	g.count(func() { g.operate(rdb) })
	if err := g.root.LPush(ctx, inspect.SetKey(queue.Live, "pending"), "purge:99").Err(); err != nil { // without a task
		g.Fatal(err)
	}
	g.count(func() {
		faults, err := inspect.Faults(ctx, rdb)
		if err != nil || len(faults) == 0 {
			g.Fatalf("faults: got %v, %v", faults, err)
		}
		fine("dropping a fault", faults[0].Drop(ctx, rdb))
	})
	release()
	if err := g.root.Set(ctx, inspect.SetKey(queue.Backfill, "pending"), "text", 0).Err(); err != nil {
		g.Fatal(err)
	}
	g.count(func() {
		odd, err := inspect.OddKeys(ctx, rdb)
		if err != nil || len(odd) != 1 {
			g.Fatalf("odd keys: got %v, %v", odd, err)
		}
		_, err = inspect.RemoveOddKey(ctx, rdb, odd[0])
		fine("removing an odd key", err)
	})
}

// announce adds a worker to those that say that they are there.
func (g *guarded) announce(rdb redis.UniversalClient) {
	g.Helper()
	stop := presence.NewAnnouncer(rdb, "v1", func() { g.Error("the announcement is lost") }).Start(g.Context())
	g.Cleanup(stop)
	sandboxtest.Eventually(g, "the worker is announced", func() bool {
		workers, err := presence.Workers(g.Context(), rdb)
		if err != nil {
			g.Fatal(err)
		}
		return len(workers) > 0
	})
}

// drain stops a server before its task ends, so that the task is handed back.
func (g *guarded) drain(rdb redis.UniversalClient) {
	g.Helper()
	started, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	cfg := queuetest.FastServer
	cfg.DrainTimeout = 100 * time.Millisecond
	stop := queuetest.Serve(g.T, rdb, cfg, queuetest.Quiet,
		queuetest.PurgerFunc(func(context.Context, purge.Task) (purge.Result, error) {
			close(started)
			<-release
			return purge.Result{State: purge.Done}, nil
		}))
	enqueue(g.T, rdb, task42)
	sandboxtest.Receive(g, "the task runs", started)
	stop()
	if got := depth(g.T, rdb).Pending; got != 1 {
		g.Errorf("got %d pending tasks, want the one that was handed back", got)
	}
}

// operate looks at every page of the dashboard, and does what operators may do there.
func (g *guarded) operate(rdb redis.UniversalClient) {
	g.Helper()
	d := dashboard.New(rdb, root)
	pages := []string{
		"", "/purge", "/purge/tasks/purge:42", "/purge/groups",
	}
	for _, set := range []string{"active", "pending", "scheduled", "retry", "archived", "completed"} {
		pages = append(pages, "/purge/"+set+"_tasks")
	}
	paths := []string{"/api/queue_stats", "/api/servers", "/api/redis_info", "/api/scheduler_entries"}
	for _, page := range pages {
		paths = append(paths, "/api/queues"+page)
	}
	for _, path := range paths {
		if w := visit(g.T, d.Handler(false), http.MethodGet, path); w.Code != http.StatusOK && w.Code != http.StatusNotFound {
			g.Errorf("GET %s: got %d %s", path, w.Code, w.Body)
		}
	}
	for _, action := range []string{
		"POST :pause", "POST :resume", "POST /active_tasks/purge:42:cancel", "POST /active_tasks:cancel_all",
		"POST /retry_tasks:run_all", "POST /scheduled_tasks:run_all",
		"POST /archived_tasks:run_all", "DELETE /pending_tasks:delete_all", "DELETE /completed_tasks:delete_all",
		"DELETE /retry_tasks:delete_all", "DELETE /archived_tasks:delete_all", "DELETE /scheduled_tasks/purge:9",
	} {
		method, path, _ := strings.Cut(action, " ")
		if w := visit(g.T, d.Handler(true), method, "/api/queues/purge"+path); w.Code >= http.StatusInternalServerError &&
			!strings.Contains(w.Body.String(), "not found") {
			g.Errorf("%s: got %d %s", action, w.Code, w.Body)
		}
	}
}

// TestTheAccountsOfRedisSuffice does all that each program does with exactly the rights of its account, which has no
// right that it does not need.
func TestTheAccountsOfRedisSuffice(t *testing.T) {
	t.Parallel()
	t.Run("enqueuer", func(t *testing.T) {
		t.Parallel()
		g := newGuarded(t)
		g.submit(g.as("enqueuer"))
		g.check("enqueuer")
	})
	t.Run("worker", func(t *testing.T) {
		t.Parallel()
		g := newGuarded(t)
		rdb := g.as("worker")
		g.count(func() {
			if err := inspect.CheckPull(t.Context(), rdb); err != nil {
				t.Error(err)
			}
			g.announce(rdb)
			g.drain(rdb)
			if err := rdb.Del(t.Context(), inspect.SetKey(queue.Live, "pending"), inspect.SetKey(queue.Live,
				"t:"+queue.TaskID(task42))).Err(); err != nil {
				t.Fatal(err)
			}
			queuetest.Ward{T: t, Redis: rdb}.Fill()() // every way for a task to end
		})
		beside := newGuarded(t) // no worker disturbs what is prepared there
		beside.used = g.used
		beside.submit(beside.as("worker"))
		beside.check("worker")
		g.used = beside.used
		g.check("worker")
	})
	t.Run("reader", func(t *testing.T) {
		t.Parallel()
		g := newGuarded(t)
		enqueue(t, g.root, task42)
		g.announce(g.root)
		rdb := g.as("reader")
		g.count(func() {
			depths, err := inspect.Depths(t.Context(), rdb)
			if err != nil || depths[0].Pending != 1 {
				t.Errorf("got %v, %v", depths, err)
			}
			if workers, err := presence.Workers(t.Context(), rdb); err != nil || len(workers) != 1 {
				t.Errorf("got %v, %v, want one worker", workers, err)
			}
			if err := queue.Ping(t.Context(), rdb); err != nil {
				t.Error(err)
			}
			if inspect.Version(t.Context(), rdb) == "" {
				t.Error("no version")
			}
		})
		g.check("reader")
	})
}

// TestTheAccountsOfRedisMayDoNoMore tries what an account must not be able to do.
func TestTheAccountsOfRedisMayDoNoMore(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	commands := [][]any{
		{"FLUSHALL"},
		{"FLUSHDB"},
		{"CONFIG", "SET", "maxmemory", "1"},
		{"CONFIG", "REWRITE"},
		{"KEYS", "*"},
		{"GET", "other:key"},
		{"SET", "other:key", "1"},
		{"DEL", "other:key"},
		{"EVAL", "return 1", 1, "other:key"},
		{"EVAL", "return redis.call('GET', 'other:key')", 0},
		{"ACL", "LIST"},
		{"ACL", "SETUSER", "x"},
		{"SHUTDOWN"},
		{"REPLICAOF", "NO", "ONE"},
		{"MONITOR"},
		{"CLIENT", "KILL", "ID", "1"},
		{"SAVE"},
		{"SCRIPT", "FLUSH"},
		{"FUNCTION", "LIST"},
		{"MIGRATE", "h", "1", "k", "0", "1"},
		{"SWAPDB", "0", "1"},
		{"SUBSCRIBE", "other"},
		{"PUBLISH", "other", "x"},
		{"RENAME", "asynq:a", "asynq:b"},
	}
	for _, role := range []string{"worker", "enqueuer", "reader"} {
		rdb := g.as(role)
		for _, command := range slices.Concat(commands, more[role]) {
			err := rdb.Do(context.WithoutCancel(t.Context()), command...).Err()
			if err == nil || !strings.Contains(fmt.Sprint(err), "NOPERM") && !strings.Contains(fmt.Sprint(err), "The user executing the script") {
				t.Errorf("%s: %v: got %v, want it refused", role, command, err)
			}
		}
	}
	if err := queuetest.Open(t, g.server.URL(0)).Ping(t.Context()).Err(); err == nil {
		t.Error("the default account is let in")
	}
}

// more is what one account must not do although another may.
var more = map[string][][]any{
	"enqueuer": {{"SUBSCRIBE", "asynq:cancel"}},
	"reader": {
		{"SET", "asynq:x", "1"},
		{"DEL", "asynq:{purge}:pending"},
		{"LPUSH", "asynq:{purge}:pending", "x"},
		{"EVAL", "return 1", 0},
		{"SCAN", "0"},
		{"PUBLISH", "asynq:cancel", "x"},
		{"CONFIG", "GET", "*"},
	},
}
