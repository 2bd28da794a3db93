package chaos

import (
	"context"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

func redisFaults() []fault {
	return []fault{
		{name: "redis-flush", inject: flush},
		{name: "redis-restart", group: "redis", inject: restartRedis},
		{name: "redis-stop", group: "redis", recovery: leaseRecovery, inject: stopRedis},
		{name: "redis-stop-at-done", group: "redis", recovery: leaseRecovery, inject: stopAtDone},
		{name: "redis-evict", group: "redis", recovery: leaseRecovery, inject: evict},
		{name: "redis-lose-list", recovery: leaseRecovery, inject: loseLists},
		{name: "redis-drop", recovery: leaseRecovery, inject: dropReplies},
	}
}

// flush empties Redis now and then.
func flush(ctx context.Context, e *episode) error {
	return e.repeatedly(ctx, 500*time.Millisecond, 2*time.Second, func() error {
		if !purge.Sleep(ctx, e.rng.between(10*time.Millisecond, 500*time.Millisecond)) {
			return nil
		}
		if e.redis.FlushAll(ctx).Err() == nil { // an error is another fault's
			e.hit()
		}
		return nil
	})
}

// restartRedis restarts the server, which keeps nothing.
func restartRedis(ctx context.Context, e *episode) error {
	if !purge.Sleep(ctx, e.rng.between(100*time.Millisecond, 800*time.Millisecond)) {
		return nil
	}
	e.hit()
	return e.env.Servers.Redis.Restart(context.WithoutCancel(ctx))
}

// stopRedis makes the server stand still for 3 s: commands are carried out after their clients gave up on them.
func stopRedis(ctx context.Context, e *episode) error {
	if !purge.Sleep(ctx, e.rng.between(50*time.Millisecond, 600*time.Millisecond)) {
		return nil
	}
	e.hit()
	server := e.env.Servers.Redis
	if err := server.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	purge.Sleep(context.WithoutCancel(ctx), 3*time.Second)
	return server.Signal(syscall.SIGCONT)
}

// evict gives Redis less memory than it uses, under a policy that throws keys away, as a cache would be set up. What
// was not used for the longest time goes first, which is mostly tasks that have ended.
func evict(ctx context.Context, e *episode) error {
	whole := context.WithoutCancel(ctx)
	defer func() {
		e.redis.ConfigSet(whole, "maxmemory", "0")
		e.redis.ConfigSet(whole, "maxmemory-policy", "noeviction")
	}()
	if err := e.redis.ConfigSet(whole, "maxmemory-policy", "allkeys-lru").Err(); err != nil {
		return err
	}
	before := e.redisFigure(whole, "stats", "evicted_keys")
	// With long breaks: another strike right after this one would also take what this one left without its list.
	err := e.repeatedly(ctx, 800*time.Millisecond, 3*time.Second, func() error {
		e.awaitBacklog(ctx)
		// A half to a sixth of what the data take now; the rest is the server's own.
		used, own := e.redisFigure(ctx, "memory", "used_memory"), e.redisFigure(ctx, "memory", "used_memory_startup")
		if used > own {
			e.redis.ConfigSet(ctx, "maxmemory", strconv.FormatInt(own+(used-own)/int64(2+e.rng.n(5)), 10))
			purge.Sleep(ctx, 50*time.Millisecond)
			e.redis.ConfigSet(whole, "maxmemory", "0") // or nothing new could be written
		}
		return nil
	})
	e.tally.hit(e.name, int(max(0, e.redisFigure(whole, "stats", "evicted_keys")-before)))
	return err
}

// loseLists takes single keys away that lead to tasks, as an eviction may, and leaves the tasks themselves: the worst
// of an eviction, for sure.
func loseLists(ctx context.Context, e *episode) error {
	lists := []string{"pending", "retry", "scheduled", "lease", "active"}
	return e.repeatedly(ctx, 100*time.Millisecond, time.Second, func() error {
		e.awaitBacklog(ctx)
		if e.redis.Del(ctx, "asynq:{purge}:"+lists[e.rng.n(len(lists))]).Val() > 0 {
			e.hit()
		}
		return nil
	})
}

// awaitBacklog returns when tasks wait, or after a moment: an empty queue has little to lose. The keys are asynq's.
func (e *episode) awaitBacklog(ctx context.Context) {
	for range 50 {
		if e.redis.LLen(ctx, "asynq:{purge}:pending").Val()+e.redis.ZCard(ctx, "asynq:{purge}:retry").Val() > 0 ||
			!purge.Sleep(ctx, 10*time.Millisecond) {
			return
		}
	}
}

// redisFigure reads a figure of the server; 0 if INFO has none.
func (e *episode) redisFigure(ctx context.Context, section, name string) int64 {
	text, err := e.redis.Info(ctx, section).Result()
	if err != nil {
		return 0
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(value), 10, 64) // 0 if it is none
			return n
		}
	}
	return 0
}

// dropReplies lets replies of Redis get lost.
func dropReplies(ctx context.Context, e *episode) error {
	before := e.proxy.dropped.Load()
	e.proxy.drop(0.01)
	<-ctx.Done()
	e.proxy.drop(0)
	e.tally.hit(e.name, int(e.proxy.dropped.Load()-before))
	return nil
}
