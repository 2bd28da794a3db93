package chaos

import (
	"context"
	"strconv"
	"time"
)

// enqueueArguments are those of the command that asks for users.
func enqueueArguments(users []int) []string {
	args := []string{"enqueue"}
	for _, user := range users {
		args = append(args, strconv.Itoa(user))
	}
	return args
}

// The exit codes of the enqueuer after which repeating the command is safe, by its own help.
const (
	exitUnavailable   = 4
	exitInterrupted   = 130
	betweenRepetition = 300 * time.Millisecond
)

// enqueue asks for users, and repeats the command while servers are down, as an operator would. A command that fails for
// any other reason is a violation.
func (r *run) enqueue(ctx context.Context, users []int) bool {
	for ctx.Err() == nil {
		p := r.enqueuer(r.house.DSN, enqueueArguments(users)...)
		err := p.run(ctx)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if code := p.code(); code != exitUnavailable && code != exitInterrupted {
			r.books.violate("an enqueuer failed with %v", err)
		}
		r.books.repeated.Add(1)
		pause(ctx, betweenRepetition)
	}
	return false
}
