package console

import (
	"context"
	"fmt"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/doctor"
	"github.com/certpurge/certpurge/internal/mysql"
)

// operations are those of an enqueuer. What is done is written down first: a process that dies in between leaves a note
// of something that did not happen, and never the other way round.
type operations struct {
	store  *mysql.Store
	redis  redis.UniversalClient
	doctor doctor.Doctor
}

func (o operations) ResumeQueue(ctx context.Context, queue, by, ticket string) error {
	err := o.store.NoteOperation(ctx, mysql.Operation{Kind: mysql.OperationResumed, Subject: queue, By: by, Ticket: ticket})
	if err != nil {
		return err
	}
	if err := asynq.NewInspectorFromRedisClient(o.redis).UnpauseQueue(queue); err != nil {
		return fmt.Errorf("resuming queue %s: %w", queue, err)
	}
	return nil
}

func (o operations) Fix(ctx context.Context, by, ticket string) ([]doctor.Finding, error) {
	err := o.store.NoteOperation(ctx, mysql.Operation{Kind: mysql.OperationFixed, By: by, Ticket: ticket})
	if err != nil {
		return nil, err
	}
	return o.doctor.Run(ctx, true)
}
