package console

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/doctor"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue/inspect"
)

// operations are those of an enqueuer. What is done is written down first: a process that dies in between leaves a note
// of something that did not happen, and never the other way round.
type operations struct {
	store  *mysql.Store
	redis  redis.UniversalClient
	doctor doctor.Doctor
	keeper *inspect.Keeper
	intake purge.Intake
}

func (o operations) ResumeQueue(ctx context.Context, queue, by, ticket string) error {
	done := mysql.Operation{Kind: mysql.OperationResumed, Subject: queue, By: by, Ticket: ticket}
	err := o.store.NoteOperation(ctx, done)
	if err != nil {
		return err
	}
	return inspect.Resume(o.redis, queue)
}

func (o operations) Fix(ctx context.Context, by, ticket string) ([]doctor.Finding, error) {
	err := o.store.NoteOperation(ctx, mysql.Operation{Kind: mysql.OperationFixed, By: by, Ticket: ticket})
	if err != nil {
		return nil, err
	}
	return o.doctor.Run(ctx, true)
}

func (o operations) Requeue(ctx context.Context, requests []purge.OpenRequest, r purge.Reopening) (int, error) {
	return purge.Requeue(ctx, o.store, o.keeper, requests, r)
}

func (o operations) Submit(ctx context.Context, user purge.UserID, by, ticket string) (purge.Accepted, error) {
	unknown, err := o.store.UnknownUsers(ctx, []purge.UserID{user})
	if err != nil {
		return purge.Accepted{}, err
	}
	if len(unknown) > 0 { // most likely a slip of the fingers
		return purge.Accepted{}, errNoSuchUser
	}
	accepted, err := o.intake.Accept(ctx, []purge.Submission{{
		User: user, Key: purge.DefaultKey(user), Source: purge.SourceCLI, By: by, Ticket: ticket,
	}})
	if errors.Is(err, purge.ErrNotQueued) {
		err = nil // it is in the ledger, and the reconciler queues it
	}
	if err != nil || len(accepted) == 0 {
		return purge.Accepted{}, fmt.Errorf("requesting the purge of user %d: %w", user, err)
	}
	return accepted[0], nil
}
