package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/doctor"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
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
	if err := o.store.NoteOperation(ctx, done); err != nil {
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

func (c *Console) askResume(r *http.Request) (question, error) {
	name := r.PathValue("queue")
	if !slices.Contains(queue.Queues(), name) {
		return question{}, badInput("there is no queue %.60q", name)
	}
	return question{
		Title: "Resume queue " + name, Button: "Resume " + name, Back: "/", Ticket: true,
		Text: "Workers pull tasks from this queue again. Look first why it was paused; the log of the process in which " +
			"that was done names who did it.",
	}, nil
}

func (c *Console) doResume(r *http.Request, by actor) (answer, error) {
	name := r.PathValue("queue")
	if !slices.Contains(queue.Queues(), name) {
		return answer{}, badInput("there is no queue %.60q", name)
	}
	if err := c.sources.Operations.ResumeQueue(r.Context(), name, by.By, by.Ticket); err != nil {
		return answer{}, err
	}
	return answer{Title: "Queue " + name + " runs again", Text: "Workers pull tasks from it.", Back: "/"}, nil
}

func (c *Console) askFix(r *http.Request) (question, error) {
	q := question{
		Title: "Fix what the doctor found", Button: "Fix it", Back: "/", Ticket: true,
		Text: "This does what enqueuer doctor --fix does: it checks again, and fixes what is safe to fix. No file and no " +
			"link is touched. As it stood at the last look, it would:",
	}
	for _, f := range c.doctor.get(r.Context(), c).Value.Findings {
		if f.Fix != "" {
			q.List = append(q.List, f.Subject+": "+f.Fix)
		}
	}
	if len(q.List) == 0 {
		q.List = []string{"change nothing: nothing was found that it could fix"}
	}
	return q, nil
}

func (c *Console) doFix(r *http.Request, by actor) (answer, error) {
	findings, err := c.sources.Operations.Fix(r.Context(), by.By, by.Ticket)
	if err != nil {
		return answer{}, err
	}
	a := answer{Title: "The doctor has checked again", Text: "What was found, and what of it was fixed:", Back: "/"}
	for _, f := range findings {
		text := f.Subject + ": " + f.Text
		switch {
		case f.Fixed:
			text += " Fixed: " + f.Fix + "."
		case f.Fix != "":
			text += " Not fixed yet: there is more of it, or another process is fixing it. Do it again."
			a.Level = "warn"
		}
		a.List = append(a.List, text)
	}
	if len(findings) == 0 {
		a.Text = "Nothing is wrong."
	}
	return a, nil
}
