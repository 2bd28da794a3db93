package chaos

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// enqueueArguments are those of the command that requests the purge of users.
func enqueueArguments(users []int) []string {
	args := []string{"enqueue"}
	for _, user := range users {
		args = append(args, strconv.Itoa(user))
	}
	return args
}

// backfillArguments are those of the command that requests the purge of users in a file. It makes the file.
func (r *run) backfillArguments(users []int) ([]string, error) {
	var list bytes.Buffer
	for _, user := range users {
		_, _ = fmt.Fprintln(&list, user)
	}
	name := fmt.Sprintf("users-%d.txt", r.tally.lists.Add(1))
	return []string{"backfill", "--execute", "--users", r.env.Path(name)}, r.env.Write(name, list.Bytes())
}

// The exit codes of the enqueuer after which repeating the command is safe, by its own help.
const (
	exitUnavailable   = 4
	exitInterrupted   = 130
	betweenRepetition = 300 * time.Millisecond
)

// enqueue requests the purge of users, and repeats the command while servers are down, as an operator would. A command
// that fails for any other reason is a violation.
func (r *run) enqueue(ctx context.Context, users []int) bool {
	for ctx.Err() == nil {
		code, err := r.runEnqueuer(ctx, nil, r.env.EnqueuerDSN, enqueueArguments(users)...)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if code != exitUnavailable && code != exitInterrupted {
			r.tally.violate("an enqueuer failed with %v", err)
		}
		r.tally.repeated.Add(1)
		purge.Sleep(ctx, betweenRepetition)
	}
	return false
}
