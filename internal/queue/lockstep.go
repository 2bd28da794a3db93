package queue

import (
	"context"
	"fmt"
	"iter"

	"github.com/redis/go-redis/v9"
)

// lockstep is a connection to Redis for many runs of the same code. Each run continues until it sends a command to
// Redis, and waits. Once all of them wait, their commands are sent as one pipeline, and each continues with its answer.
//
// This lets asynq, which has no bulk enqueue, put many tasks into a queue in a few round trips. None of its steps is
// copied here: asynq validates, encodes, chooses the script, sends it in full if Redis does not know it, and reads the
// answer. A run that meets a conflict sends more commands, which are pipelined with those of the others.
//
// Only the commands below wait; asynq sends no others for a single task. Any other command goes straight to Redis,
// which is correct but slow.
type lockstep struct {
	redis.UniversalClient

	pipe    redis.Pipeliner
	running *coroutine
	added   map[string]*redis.IntCmd // answers to SAdd, by key and members
}

func newLockstep(rdb redis.UniversalClient) *lockstep {
	return &lockstep{UniversalClient: rdb, pipe: rdb.Pipeline(), added: map[string]*redis.IntCmd{}}
}

// EvalSha implements redis.Scripter.
func (l *lockstep) EvalSha(ctx context.Context, sha1 string, keys []string, args ...any) *redis.Cmd {
	cmd := l.pipe.EvalSha(ctx, sha1, keys, args...)
	l.running.wait(struct{}{})
	return cmd
}

// Eval implements redis.Scripter. It follows an EvalSha of a script that Redis did not know.
func (l *lockstep) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	cmd := l.pipe.Eval(ctx, script, keys, args...)
	l.running.wait(struct{}{})
	return cmd
}

// SIsMember implements redis.Cmdable. asynq's Inspector checks with it whether a queue exists.
func (l *lockstep) SIsMember(ctx context.Context, key string, member any) *redis.BoolCmd {
	cmd := l.pipe.SIsMember(ctx, key, member)
	l.running.wait(struct{}{})
	return cmd
}

// SAdd implements redis.Cmdable. asynq registers the queue with it before the first task. The other runs share the
// answer: if Redis is down, each of them would have to wait as long as the first.
func (l *lockstep) SAdd(ctx context.Context, key string, members ...any) *redis.IntCmd {
	what := fmt.Sprint(key, members)
	if l.added[what] == nil {
		l.added[what] = l.UniversalClient.SAdd(ctx, key, members...)
	}
	return l.added[what]
}

// coroutine is a run that has not returned.
type coroutine struct {
	step func() (struct{}, bool) // runs it until its next command; false if it returned instead
	wait func(struct{}) bool     // called by the run: suspends it until the next step
}

// run calls do with 0 to n-1 and returns when all have returned. The runs are coroutines: one runs at a time, so they
// may share what is not safe for concurrent use, and their commands are sent in order.
func (l *lockstep) run(ctx context.Context, n int, do func(i int)) {
	coroutines := make([]*coroutine, n)
	for i := range coroutines {
		c := &coroutine{}
		c.step, _ = iter.Pull(func(yield func(struct{}) bool) { // nothing to stop: each runs to its end
			c.wait = yield
			do(i)
		})
		coroutines[i] = c
	}
	for len(coroutines) > 0 {
		waiting := coroutines[:0]
		for _, c := range coroutines {
			l.running = c
			if _, waits := c.step(); waits {
				waiting = append(waiting, c)
			}
		}
		_, _ = l.pipe.Exec(ctx) // each command carries its own error
		clear(coroutines[len(waiting):])
		coroutines = waiting
	}
}
