package presence_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/queue/inspect"
	"github.com/certpurge/certpurge/internal/queue/presence"
	"github.com/certpurge/certpurge/internal/queue/queuetest"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m)) }

var (
	open        = queuetest.Open
	asynqServer = queuetest.AsynqServer
	newRedis    = queuetest.NewRedis
)

func workers(t *testing.T, rdb redis.UniversalClient) []presence.Worker {
	t.Helper()
	all, err := presence.Workers(t.Context(), rdb)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// become waits until the only worker that Redis knows is in a state.
func become(t *testing.T, rdb redis.UniversalClient, state presence.State) (w presence.Worker) {
	t.Helper()
	sandboxtest.Eventually(t, "the worker is "+string(state), func() bool {
		all := workers(t, rdb)
		if len(all) == 1 {
			w = all[0]
		}
		return len(all) == 1 && w.State == state
	})
	return w
}

func TestAWorkerTellsWhatItDoes(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	p := presence.NewAnnouncer(rdb, "v9", func() { t.Error("Redis did not take it") })
	ctx, cancel := context.WithCancel(t.Context())
	stop := p.Start(ctx)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if w := become(t, rdb, presence.Starting); w.Host != host || w.PID != os.Getpid() || w.Version != "v9" ||
		time.Since(w.Since).Abs() > time.Minute {
		t.Errorf("got %+v", w)
	}
	p.Set(presence.Paused, "bucket certs: "+strings.Repeat("é", 1000))
	paused := become(t, rdb, presence.Paused)
	if !strings.HasPrefix(paused.Reason, "bucket certs: é") || len(paused.Reason) > 510 ||
		!utf8.ValidString(paused.Reason) {
		t.Errorf("got the reason %q", paused.Reason)
	}
	if text := paused.String(); !strings.Contains(text, host) || !strings.Contains(text, "is paused since 20") ||
		!strings.Contains(text, ": bucket certs") {
		t.Errorf("got %q", text)
	}
	p.Set(presence.Pulling, "")
	if w := become(t, rdb, presence.Pulling); w.Reason != "" {
		t.Errorf("got %+v, want no reason", w)
	}
	cancel() // told to stop: it drains, and is there until it has
	p.Set(presence.Stopping, "")
	become(t, rdb, presence.Stopping)
	for _, key := range rdb.Keys(t.Context(), "*").Val() {
		if ttl := rdb.PTTL(t.Context(), key).Val(); ttl <= 0 || strings.Contains(key, host) && ttl > 10*time.Second {
			t.Errorf("%s: stays for %v if the worker dies", key, ttl)
		}
	}
	stop()
	if all := workers(t, rdb); len(all) != 0 {
		t.Errorf("after its end: got %+v", all)
	}
}

func TestAWorkerHearsThatRedisDoesNotTakeIt(t *testing.T) {
	t.Parallel()
	server := sandboxtest.OwnServers(t).Redis
	rdb := open(t, server.URL(0))
	if err := rdb.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	lost := make(chan struct{}, 100)
	p := presence.NewAnnouncer(rdb, "", func() { lost <- struct{}{} })
	defer p.Start(t.Context())()
	sandboxtest.Receive(t, "it hears", lost)
}

// TestOlderWorkersCountAndStrangersDoNot runs a server of ours that tells nothing, and one of another application.
func TestOlderWorkersCountAndStrangersDoNot(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	asynqServer(t, rdb, asynq.Config{Queues: map[string]int{"default": 1}},
		func(context.Context, *asynq.Task) error { return nil })
	sandboxtest.Eventually(t, "the other application is listed", func() bool {
		servers, err := asynq.NewInspectorFromRedisClient(rdb).Servers()
		return err == nil && len(servers) == 1
	})
	if all := workers(t, rdb); len(all) != 0 {
		t.Errorf("got %+v, want no worker", all)
	}
	queuetest.Serve(t, rdb, queuetest.FastServer, queuetest.Quiet,
		queuetest.PurgerFunc(func(context.Context, purge.Task) (purge.Result,
			error,
		) {
			return purge.Result{}, nil
		}))
	if w := become(t, rdb, presence.Pulling); w.PID != os.Getpid() || w.Since.IsZero() {
		t.Errorf("got %+v", w)
	}
	// One that tells is not counted twice.
	p := presence.NewAnnouncer(rdb, "v9", func() {})
	p.Set(presence.Paused, "why")
	defer p.Start(t.Context())()
	become(t, rdb, presence.Paused)
}

// TestForgedWorkersAreShownCleaned: whatever may write to Redis may put anything there.
func TestForgedWorkersAreShownCleaned(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	const list = "asynq:{certpurge:workers}"
	forged := `{"host":"\u001b]0;owned\u0007h","pid":1,"state":"paused","version":"\u202e1","reason":"` +
		strings.Repeat(`\n`, 100) + strings.Repeat("x", 3_000) + `"}`
	if err := errors.Join(rdb.ZAdd(t.Context(), list, redis.Z{Score: 1, Member: "h"}).Err(),
		rdb.Set(t.Context(), list+":h", forged, 0).Err()); err != nil {
		t.Fatal(err)
	}
	workers, err := presence.Workers(t.Context(), rdb)
	if err != nil || len(workers) != 1 {
		t.Fatalf("got %v, %v", workers, err)
	}
	if text := workers[0].String(); strings.ContainsAny(text, "\x1b\x07\n") || len(text) > 1000 ||
		workers[0].Version != "1" {
		t.Errorf("got %q", text)
	}
}

// TestTheNumberOfWorkersIsBounded forges very many, and some that say very much: those that were there last are read.
func TestTheNumberOfWorkersIsBounded(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	const list = "asynq:{certpurge:workers}"
	forge := redis.NewScript(`
for i = 1, 3000 do
	local host = string.format("h%d", i)
	redis.call("ZADD", KEYS[1], i, host)
	redis.call("SET", KEYS[1] .. ":" .. host, string.format('{"host":"%s","pid":%d,"state":"pulling"}', host, i))
	redis.call("ZADD", "asynq:servers", 9999999999, "asynq:servers:{" .. host .. "}")
	redis.call("SET", "asynq:servers:{" .. host .. "}", "x")
end
redis.call("SET", KEYS[1] .. ":h2999", '{"host":"h2999","reason":"' .. string.rep("x", 100000) .. '"}')`)
	if err := forge.Run(t.Context(), rdb, []string{list}).Err(); err != nil && !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
	all := workers(t, rdb)
	hosts := map[string]bool{}
	for _, w := range all {
		hosts[w.Host] = true
	}
	if len(all) != 999 || !hosts["h3000"] || hosts["h2999"] || hosts["h1"] {
		t.Errorf("got %d workers, want the latest 1,000 but the one that says too much", len(all))
	}
}

func TestStandstillSaysWhy(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	says := func(want ...string) {
		t.Helper()
		why, err := inspect.Standstill(t.Context(), rdb, queue.Live)
		if err != nil || len(want) == 0 && why != "" || len(want) > 0 && why == "" {
			t.Errorf("got %q, %v; want %q", why, err, want)
		}
		for _, part := range want {
			if !strings.Contains(why, part) {
				t.Errorf("got %q, want %q", why, part)
			}
		}
	}
	says("no worker is running")
	first, second := presence.NewAnnouncer(rdb, "", func() {}), presence.NewAnnouncer(rdb, "", func() {})
	defer first.Start(t.Context())()
	become(t, rdb, presence.Starting)
	says("no worker pulls tasks", "is starting since")
	second.Set(presence.Paused, "MySQL is read-only")
	defer second.Start(t.Context())()
	sandboxtest.Eventually(t, "both are there", func() bool { return len(workers(t, rdb)) == 2 })
	says("none of 2 workers pulls tasks", "is paused since", "MySQL is read-only")
	first.Set(presence.Pulling, "")
	sandboxtest.Eventually(t, "one pulls", func() bool { return presence.CountPulling(workers(t, rdb)) == 1 })
	says()
	if err := asynq.NewInspectorFromRedisClient(rdb).PauseQueue(queue.Live); err != nil {
		t.Fatal(err)
	}
	says("queue purge is paused")
}
