package mysql

import (
	"context"
	"errors"
	"slices"

	"github.com/certpurge/certpurge/internal/purge"
)

// Call is one of those that BeginAll, IntendAll and RecordAll run together.
type Call struct {
	Task    purge.Task
	Attempt purge.Attempt
	Intents []purge.Evidence
	Empty   []purge.Directory
	Report  purge.Report
}

// BeginAll claims as one batch does.
func (s *Store) BeginAll(ctx context.Context, calls ...Call) []purge.Answer[purge.Attempt] {
	tasks := make([]purge.Task, len(calls))
	for i, c := range calls {
		tasks[i] = c.Task
	}
	return apart(ctx, s.beginAll, tasks)
}

// IntendAll intends as one batch does.
func (s *Store) IntendAll(ctx context.Context, calls ...Call) []purge.Answer[purge.Intended] {
	all := make([]intendCall, len(calls))
	for i, c := range calls {
		all[i] = intendCall{c.Attempt, c.Intents, c.Empty}
	}
	return apart(ctx, s.intendAll, all)
}

// RecordAll records as one batch does.
func (s *Store) RecordAll(ctx context.Context, calls ...Call) []purge.Answer[purge.Recorded] {
	all := make([]recordCall, len(calls))
	for i, c := range calls {
		all[i] = recordCall{c.Attempt, c.Report}
	}
	return apart(ctx, s.recordAll, all)
}

// UserAll reads users as one batch does.
func (s *Store) UserAll(ctx context.Context, ids ...purge.UserID) []purge.Answer[purge.User] {
	return apart(ctx, s.userAll, ids)
}

// SharingAll looks for other users as one batch does.
func (s *Store) SharingAll(ctx context.Context, users []purge.UserID, ids [][]string) []purge.Answer[[]purge.Shared] {
	calls := make([]sharingCall, len(users))
	for i := range users {
		calls[i] = sharingCall{users[i], ids[i]}
	}
	return apart(ctx, s.sharingAll, calls)
}

// apart runs a batch as a Batcher does.
func apart[T, R any](ctx context.Context, run purge.RunBatch[T, R], items []T) []purge.Answer[R] {
	answers, err := run(ctx, items, false)
	if err != nil && len(items) == 1 {
		return []purge.Answer[R]{{Err: err}}
	}
	if err != nil {
		answers = slices.Repeat([]purge.Answer[R]{{Err: purge.ErrAlone}}, len(items))
	}
	for i := range items {
		if errors.Is(answers[i].Err, purge.ErrAlone) {
			own, err := run(ctx, items[i:i+1], true)
			if err != nil {
				own = []purge.Answer[R]{{Err: err}}
			}
			answers[i] = own[0]
		}
	}
	return answers
}
