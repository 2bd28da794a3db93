package inspect_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/configs"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/queue/inspect"
	"github.com/certpurge/certpurge/internal/sandbox"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// rights are those of the worker's account in configs/redis/users.acl.
func rights(t *testing.T) []string {
	t.Helper()
	_, rest, found := strings.Cut(configs.RedisUsers, " on >change-me-worker ")
	line, _, _ := strings.Cut(rest, "\n")
	if !found {
		t.Fatal("configs/redis/users.acl has no account of the worker")
	}
	return strings.Fields(line)
}

// TestChecksFindARedisThatTakesNoTasks spoils real servers in ways in which they answer a ping, and take no task.
func TestChecksFindARedisThatTakesNoTasks(t *testing.T) {
	t.Parallel()
	// do runs a command as an administrator would.
	type admin func(args ...string)
	account := func(do admin, rules ...string) {
		do(append([]string{"ACL", "SETUSER", "certpurge", "on", ">pw", "resetkeys", "resetchannels", "-@all"}, rules...)...)
	}
	full := slices.Clip(rights(t)) // subtests append to it
	const lacks = "lacks a right"
	for name, tc := range map[string]struct {
		spoil   func(do admin, dir string)
		url     string // of the account; the administrator's if empty
		says    string
		class   purge.Class // 0: all is well
		onlyFor string      // "pull": tasks can be enqueued all the same
		deaf    bool        // a ping is not answered either
	}{
		"all is well": {spoil: func(admin, string) {}},
		"memory is used up": {
			spoil: func(do admin, _ string) { do("CONFIG", "SET", "maxmemory", "1") },
			says:  "raise its maxmemory", class: purge.Unavailable,
		},
		"a replica": {
			spoil: func(do admin, _ string) { do("REPLICAOF", "127.0.0.1", "1") },
			says:  "must lead to the primary", class: purge.Unavailable,
		},
		"no replicas": {
			spoil: func(do admin, _ string) { do("CONFIG", "SET", "min-replicas-to-write", "1") },
			says:  "min-replicas-to-write", class: purge.Unavailable,
		},
		"it cannot save": {spoil: func(do admin, dir string) {
			if err := os.Mkdir(filepath.Join(dir, "dump.rdb"), 0o700); err != nil { // in the place of the file
				t.Error(err)
			}
			do("SET", "x", "y")
			do("CONFIG", "SET", "save", "3600 1")
			do("BGSAVE")
		}, says: "cannot save to disk", class: purge.Unavailable},
		"the rights of users.acl": {spoil: func(do admin, _ string) { account(do, full...) }, url: "certpurge:pw"},
		"no scripts": {
			spoil: func(do admin, _ string) { account(do, append(full, "-@scripting")...) }, url: "certpurge:pw",
			says: "'eval' command", class: purge.Misconfigured,
		},
		"no scripts by their hash": {
			spoil: func(do admin, _ string) { account(do, append(full, "-evalsha")...) }, url: "certpurge:pw",
			says: "'evalsha' command", class: purge.Misconfigured,
		},
		"no lists": {
			spoil: func(do admin, _ string) { account(do, append(full, "-@list")...) }, url: "certpurge:pw",
			says: lacks, class: purge.Misconfigured,
		},
		"other keys": {
			spoil: func(do admin, _ string) { account(do, "~other:*", "&*", "+@all") }, url: "certpurge:pw",
			says: lacks, class: purge.Misconfigured,
		},
		"only the live queue": {
			spoil: func(do admin, _ string) { account(do, "~asynq:{purge}:*", "&*", "+@all") }, url: "certpurge:pw",
			says: lacks, class: purge.Misconfigured,
		},
		"no channel": {
			spoil: func(do admin, _ string) { account(do, append(full, "resetchannels")...) }, url: "certpurge:pw",
			says: lacks, class: purge.Misconfigured, onlyFor: "pull",
		},
		"a wrong password": {
			spoil: func(do admin, _ string) { account(do, full...) }, url: "certpurge:other",
			says: "rejects the login", class: purge.Misconfigured, deaf: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := sandboxtest.OwnServers(t).Redis
			root := open(t, server.URL(0))
			do := func(args ...string) {
				t.Helper()
				all := make([]any, len(args))
				for i, a := range args {
					all[i] = a
				}
				if err := root.Do(t.Context(), all...).Err(); err != nil {
					t.Fatalf("%v: %v", args, err)
				}
			}
			tc.spoil(do, root.ConfigGet(t.Context(), "dir").Val()["dir"])
			url := server.URL(0)
			if tc.url != "" {
				url = "redis://" + tc.url + "@" + server.Addr + "/0"
			}
			rdb := open(t, url)
			if name == "it cannot save" {
				sandboxtest.Eventually(t, "the snapshot has failed", func() bool {
					return strings.Contains(root.Info(t.Context(), "persistence").Val(), "rdb_last_bgsave_status:err")
				})
			}
			if err := queue.Ping(t.Context(), rdb); (err != nil) != tc.deaf {
				t.Errorf("Ping: got %v, want an answer: %v", err, !tc.deaf)
			}
			checks := map[string]func(context.Context, redis.UniversalClient) error{
				"enqueue": inspect.Check,
				"pull":    inspect.CheckPull,
			}
			for what, check := range checks {
				err := check(t.Context(), rdb)
				switch {
				case tc.class == 0 || tc.onlyFor != "" && tc.onlyFor != what:
					if err != nil {
						t.Errorf("%s: got %v", what, err)
					}
				case purge.ClassOf(err) != tc.class || !strings.Contains(err.Error(), tc.says):
					t.Errorf("%s: got %v (class %d), want class %d and %q", what, err, purge.ClassOf(err), tc.class, tc.says)
				}
			}
		})
	}
}

// TestChecksFindARedisThatIsBusy keeps it busy with a script until the script is killed.
func TestChecksFindARedisThatIsBusy(t *testing.T) {
	t.Parallel()
	server := sandboxtest.OwnServers(t).Redis
	root, busy := open(t, server.URL(0)), open(t, server.URL(0))
	if err := root.ConfigSet(t.Context(), "lua-time-limit", "1").Err(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- busy.Eval(context.WithoutCancel(t.Context()), "while true do end", nil).Err() }()
	sandboxtest.Eventually(t, "it says that it is busy", func() bool {
		err := inspect.Check(t.Context(), root)
		return purge.ClassOf(err) == purge.Unavailable && err != nil && strings.Contains(err.Error(), "SCRIPT KILL")
	})
	sandboxtest.Eventually(t, "the script is killed", func() bool { return root.ScriptKill(t.Context()).Err() == nil })
	if err := sandboxtest.Receive(t, "the script has ended", ended); err == nil {
		t.Error("the script ended by itself")
	}
}

// TestChecksReadWordsAfterERR asks for a database that the server does not have.
func TestChecksReadWordsAfterERR(t *testing.T) {
	t.Parallel()
	server := sandboxtest.OwnServers(t).Redis
	rdb := open(t, "redis://"+server.Addr+"/999999")
	for _, err := range []error{queue.Ping(t.Context(), rdb), inspect.Check(t.Context(), rdb)} {
		if purge.ClassOf(err) != purge.Misconfigured || !strings.Contains(err.Error(), "rejects the login") {
			t.Errorf("got %v, want a wrong database number", err)
		}
	}
}

// TestChecksFindAQueueThatMoves begins to move the slot of a queue in which a task waits from one node to another.
func TestChecksFindAQueueThatMoves(t *testing.T) {
	t.Parallel()
	var nodes []redis.UniversalClient
	var ids []string
	var addresses []string
	for range 2 {
		server := sandboxtest.OwnRedis(t, sandbox.Options{RedisCluster: true})
		client := open(t, server.URL(0))
		nodes, addresses = append(nodes, client), append(addresses, server.Addr)
		ids = append(ids, client.Do(t.Context(), "CLUSTER", "MYID").Val().(string)) //nolint:errcheck // panics then
	}
	do := func(node int, args ...any) {
		t.Helper()
		if err := nodes[node].Do(t.Context(), args...).Err(); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
	}
	do(0, "CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
	host, port, _ := strings.Cut(addresses[1], ":")
	do(0, "CLUSTER", "MEET", host, port)
	for _, node := range nodes {
		sandboxtest.Eventually(t, "the nodes have met", func() bool {
			info := node.ClusterInfo(t.Context()).Val()
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:2")
		})
	}
	rdb := open(t, "redis+cluster://"+addresses[0])
	enqueue(t, rdb, task42)
	if err := inspect.Check(t.Context(), rdb); err != nil {
		t.Errorf("before: %v", err)
	}
	slot := nodes[0].ClusterKeySlot(t.Context(), inspect.SetKey(queue.Live, "pending")).Val()
	do(1, "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
	do(0, "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
	err := inspect.Check(t.Context(), rdb)
	if purge.ClassOf(err) != purge.Unavailable || !strings.Contains(err.Error(), "is moving the queue") {
		t.Errorf("got %v, want a queue that moves", err)
	}
	do(0, "CLUSTER", "SETSLOT", slot, "STABLE")
	if err := inspect.Check(t.Context(), rdb); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestChecksFindABrokenCluster takes a slot from a cluster that was whole.
func TestChecksFindABrokenCluster(t *testing.T) {
	t.Parallel()
	addr := sandboxtest.RedisCluster(t)
	rdb := open(t, "redis+cluster://"+addr)
	if err := inspect.CheckPull(t.Context(), rdb); err != nil {
		t.Fatalf("the whole cluster: %v", err)
	}
	node := open(t, "redis://"+addr)
	slot := node.ClusterKeySlot(t.Context(), "asynq:{backfill}:pending").Val()
	if err := node.Do(t.Context(), "CLUSTER", "DELSLOTS", strconv.FormatInt(slot, 10)).Err(); err != nil {
		t.Fatal(err)
	}
	sandboxtest.Eventually(t, "the cluster is down", func() bool {
		err := inspect.Check(t.Context(), rdb)
		return purge.ClassOf(err) == purge.Unavailable && err != nil && strings.Contains(err.Error(), "CLUSTER INFO")
	})
}

// TestChecksLeaveNothing also not for asynq to find.
func TestChecksLeaveNothing(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	if err := inspect.CheckPull(t.Context(), rdb); err != nil {
		t.Fatal(err)
	}
	if keys := rdb.Keys(t.Context(), "*").Val(); len(keys) > 0 {
		t.Errorf("got %v", keys)
	}
}

// Hangs on it: CheckPull subscribes to the channel that asynq's servers listen on.
func TestContractServersListenForCancelations(t *testing.T) {
	t.Parallel()
	server := sandboxtest.OwnServers(t).Redis
	rdb := open(t, server.URL(0))
	asynqServer(t, rdb, asynq.Config{}, func(context.Context, *asynq.Task) error { return nil })
	sandboxtest.Eventually(t, "the server listens", func() bool {
		return rdb.PubSubNumSub(t.Context(), "asynq:cancel").Val()["asynq:cancel"] == 1
	})
}

// TestKeysOfAWrongTypeAreNamedAndRemoved spoils each key that every enqueuer or worker uses, after it was used for
// real.
func TestKeysOfAWrongTypeAreNamedAndRemoved(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	today := time.Now().UTC().Format(time.DateOnly)
	stop := serve(t, rdb, fastServer, quiet, purgerFunc(func(context.Context, purge.Task) (purge.Result, error) {
		return purge.Result{State: purge.Done}, nil
	}))
	enqueue(t, rdb, task42)
	sandboxtest.Eventually(t, "a task has ended", func() bool { return depth(t, rdb).Completed == 1 })
	stop()
	if odd, err := inspect.OddKeys(t.Context(), rdb); err != nil || len(odd) > 0 {
		t.Fatalf("after ordinary work: got %v, %v", odd, err)
	}
	for _, key := range []string{
		"asynq:queues", "asynq:servers", "asynq:workers", "asynq:{certpurge:workers}", "asynq:{purge}:processed",
		"asynq:{purge}:processed:" + today, "asynq:{backfill}:failed", "asynq:{backfill}:failed:" + today,
		"asynq:{purge}:lease",
		"asynq:{backfill}:active",
	} {
		if err := errors.Join(rdb.Del(t.Context(), key).Err(), rdb.HSet(t.Context(), key, "a", "b").Err()); err != nil {
			t.Fatal(err)
		}
		if err := inspect.Check(t.Context(), rdb); purge.ClassOf(err) != purge.Unavailable ||
			!strings.Contains(err.Error(), key+" is a hash") {
			t.Errorf("%s: got %v, want it named", key, err)
		}
		odd, err := inspect.OddKeys(t.Context(), rdb)
		if err != nil || len(odd) != 1 || odd[0].Key != key {
			t.Fatalf("%s: got %v, %v", key, odd, err)
		}
		if removed, err := inspect.RemoveOddKey(t.Context(), rdb, odd[0]); err != nil || !removed {
			t.Errorf("%s: got %v, %v; want it removed", key, removed, err)
		}
		if err := inspect.Check(t.Context(), rdb); err != nil {
			t.Errorf("%s: afterwards: %v", key, err)
		}
	}
}
