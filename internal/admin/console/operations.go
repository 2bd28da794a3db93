package console

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/doctor"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/queue/inspect"
)

// operations are those of an enqueuer. What is done is written down first: a process that dies in between leaves a note
// of something that did not happen, and never the other way round.
type operations struct {
	store  *mysql.Store
	redis  redis.UniversalClient
	doctor doctor.Doctor
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
