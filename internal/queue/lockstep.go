package queue

import (
	"context"
	"fmt"
	"iter"

	"github.com/redis/go-redis/v9"
)

// lockstep is a connection to Redis for many runs of the same code. Each run goes on until it asks Redis for something,
// and waits. Once all of them wait, what they have asked is sent as one pipeline, and each goes on with its own answer.
//
// So asynq, which has no bulk enqueue, puts many tasks into a queue in a few round trips, and nothing of what it does
// is done in its place: it validates, encodes, chooses the script, sends it in full where Redis does not know it, and
// reads the answer. A run that meets a conflict asks on, and its questions too travel with those of the others.
//
// Only the commands below wait; they are what asynq sends for a single task. Any other goes straight to Redis, which is
// right, and slow.
type lockstep struct {
	redis.UniversalClient

	pipe   redis.Pipeliner
	on     *coroutine
	listed map[string]*redis.IntCmd // what SAdd was asked, and answered
}

func newLockstep(rdb redis.UniversalClient) *lockstep {
	return &lockstep{UniversalClient: rdb, pipe: rdb.Pipeline(), listed: map[string]*redis.IntCmd{}}
}

// EvalSha implements redis.Scripter.
func (l *lockstep) EvalSha(ctx context.Context, sha1 string, keys []string, args ...any) *redis.Cmd {
	cmd := l.pipe.EvalSha(ctx, sha1, keys, args...)
	l.on.wait(struct{}{})
	return cmd
}

// Eval implements redis.Scripter. It follows an EvalSha of a script that Redis did not know.
func (l *lockstep) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	cmd := l.pipe.Eval(ctx, script, keys, args...)
	l.on.wait(struct{}{})
	return cmd
}

// SIsMember implements redis.Cmdable. asynq's Inspector asks with it whether a queue exists.
func (l *lockstep) SIsMember(ctx context.Context, key string, member any) *redis.BoolCmd {
	cmd := l.pipe.SIsMember(ctx, key, member)
	l.on.wait(struct{}{})
	return cmd
}

// SAdd implements redis.Cmdable. asynq lists the queue with it before the first task: the others share the answer,
// because asking a Redis that is away would take each of them as long as it took the first.
func (l *lockstep) SAdd(ctx context.Context, key string, members ...any) *redis.IntCmd {
	what := fmt.Sprint(key, members)
	if l.listed[what] == nil {
		l.listed[what] = l.UniversalClient.SAdd(ctx, key, members...)
	}
	return l.listed[what]
}

// coroutine is a run that has not ended.
type coroutine struct {
	step func() (struct{}, bool) // lets it go on to its next question; false when it has ended instead
	wait func(struct{}) bool     // gives the turn back, from inside
}

// run calls do with 0 to n-1 and returns when all have ended. The runs are coroutines: one is on at a time, so they may
// share what is not safe for concurrent use, and what they ask is sent in their order.
func (l *lockstep) run(ctx context.Context, n int, do func(i int)) {
	coroutines := make([]*coroutine, n)
	for i := range coroutines {
		t := &coroutine{}
		t.step, _ = iter.Pull(func(yield func(struct{}) bool) { // nothing to stop: each goes on to its end
			t.wait = yield
			do(i)
		})
		coroutines[i] = t
	}
	for len(coroutines) > 0 {
		waiting := coroutines[:0]
		for _, t := range coroutines {
			l.on = t
			if _, asks := t.step(); asks {
				waiting = append(waiting, t)
			}
		}
		_, _ = l.pipe.Exec(ctx) // each command carries its own error
		clear(coroutines[len(waiting):])
		coroutines = waiting
	}
}
