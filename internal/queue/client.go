package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/purge"
)

// maxRetry is asynq's own limit, set so high that it never decides: the ledger counts attempts (queue.max_attempts, 100
// at most). A task that asynq gives up is archived without a handler seeing it.
const maxRetry = 1000

// Client puts tasks into one queue. It is safe for concurrent use.
type Client struct {
	redis     redis.UniversalClient
	asynq     *asynq.Client
	inspector *asynq.Inspector
	queue     string
	tasks     config.Tasks
}

// NewClient makes a Client of a queue on a connection pool that the caller closes.
func NewClient(rdb redis.UniversalClient, queue string, tasks config.Tasks) *Client {
	return &Client{
		redis: rdb, asynq: asynq.NewClientFromRedisClient(rdb), inspector: asynq.NewInspectorFromRedisClient(rdb),
		queue: queue, tasks: tasks,
	}
}

// enqueueTries limits the tries while the task that is there changes its state.
const enqueueTries = 3

func (c *Client) enqueue(ctx context.Context, task purge.Task) error {
	id := TaskID(task)
	for range enqueueTries {
		if err := c.put(ctx, id, task); !errors.Is(err, asynq.ErrTaskIDConflict) {
			return err
		}
		free, err := c.resolve(ctx, id, task)
		if err != nil || !free {
			return err
		}
	}
	return nil // another process keeps enqueuing it
}

func (c *Client) put(ctx context.Context, id string, task purge.Task, opts ...asynq.Option) error {
	data, err := encode(task)
	if err != nil {
		return err
	}
	// A new asynq.Task each time: asynq appends to its options, which would race if it were shared.
	_, err = c.asynq.EnqueueContext(ctx, asynq.NewTaskWithHeaders(TaskType, data, headers(task)),
		append(opts, asynq.Queue(c.queue), asynq.TaskID(id),
			asynq.Timeout(c.tasks.Timeout), asynq.Retention(c.tasks.Retention), asynq.MaxRetry(maxRetry))...)
	return err
}

// traceHeader is the header of a task that holds the trace of the caller who requested it.
const traceHeader = "traceparent"

func headers(task purge.Task) map[string]string {
	if task.Trace == "" {
		return nil
	}
	return map[string]string{traceHeader: task.Trace}
}

// followUpDelay is the delay of the follow-up of an active task.
const followUpDelay = 5 * time.Second

// resolve handles the task that has the ID already, and reports whether the ID is free now.
func (c *Client) resolve(ctx context.Context, id string, task purge.Task) (free bool, err error) {
	info, err := c.inspector.GetTaskInfo(c.queue, id)
	if errors.Is(err, asynq.ErrTaskNotFound) || errors.Is(err, asynq.ErrQueueNotFound) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the task that is there: %w", err)
	}
	switch info.State {
	case asynq.TaskStateArchived, asynq.TaskStateCompleted:
		err := c.inspector.DeleteTask(c.queue, id)
		return true, ignoreGone(err)
	case asynq.TaskStateRetry, asynq.TaskStateScheduled:
		return false, ignoreGone(c.inspector.RunTask(c.queue, id))
	case asynq.TaskStateActive:
		// It may be past the point at which it would see this request. A needless task costs a read of the ledger.
		err := c.put(ctx, FollowUpID(task), task, asynq.ProcessIn(followUpDelay))
		if errors.Is(err, asynq.ErrTaskIDConflict) {
			return false, nil // there is one already
		}
		return false, err
	default:
		return false, nil // pending: it will run, and takes any open request of the user
	}
}

// ignoreGone ignores that a task has changed its state meanwhile: it ran, or another process did the same.
func ignoreGone(err error) error {
	if errors.Is(err, asynq.ErrTaskNotFound) || err == nil {
		return nil
	}
	return fmt.Errorf("moving the task that is there: %w", err)
}
