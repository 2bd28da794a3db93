package notify

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/certpurge/certpurge/internal/mysql"
)

// parallel is how many events are sent at the same time while the receiver accepts them.
const parallel = 8

// roundTime is how long a round sends before it looks for new ends again.
const roundTime = 30 * time.Second

// lastWords is how long it may take to write down what was delivered when the process stops.
const lastWords = 5 * time.Second

// The time before the next try doubles from minBackoff to maxBackoff. While the receiver fails, one event is sent at a
// time, so a longer pause would save it nothing, and would delay all events once it works again.
const (
	minBackoff = time.Second
	maxBackoff = 5 * time.Minute
)

// backoff is the pause after a number of failures in a row: between half of it and all of it, at random, so that the
// tries of several senders do not fall together.
func backoff(failures int) time.Duration {
	pause := maxBackoff
	if failures < 10 {
		pause = min(minBackoff<<max(0, failures-1), maxBackoff)
	}
	return pause/2 + rand.N(pause/2+1) //nolint:gosec // no secret
}

// deliver sends what is due: several events at a time, or one while the receiver fails.
func (n *Notifier) deliver(ctx context.Context, receiver mysql.Receiver, sum *Summary) error {
	for end := n.Now().Add(roundTime); ctx.Err() == nil; {
		now := n.Now()
		if now.Before(receiver.NextAt) || !now.Before(end) {
			return nil
		}
		limit := parallel
		if receiver.Failures > 0 {
			limit = 1
		}
		due, err := n.Ledger.DueNotifications(ctx, now, limit)
		if err != nil || len(due) == 0 {
			return err
		}
		if receiver, err = n.send(ctx, due, receiver, sum); err != nil {
			return err
		}
	}
	return nil
}

// send sends some events at the same time and writes down their outcomes. A process that dies in between sends
// them again, with the same ids.
func (n *Notifier) send(ctx context.Context, due []mysql.Notification, receiver mysql.Receiver, sum *Summary) (
	mysql.Receiver, error,
) {
	answers := make([]Answer, len(due))
	var sending sync.WaitGroup
	for i, notification := range due {
		sending.Go(func() { answers[i] = n.Send(ctx, notification.EventID, notification.Body, n.Now()) })
	}
	sending.Wait()
	now, before := n.Now(), receiver
	var deliveries []mysql.Delivery
	var tried []Answer
	for i, answer := range answers {
		if !answer.Delivered && ctx.Err() != nil {
			continue // it was broken off, which says nothing of the receiver
		}
		tried = append(tried, answer)
		d := mysql.Delivery{Notification: due[i].ID, Delivered: answer.Delivered, Answer: answer.Text}
		if answer.Delivered {
			sum.Delivered++
		} else {
			d.DueAt = now.Add(max(answer.Wait, backoff(due[i].Tries+1)))
			sum.Failed++
		}
		deliveries = append(deliveries, d)
	}
	receiver = learn(receiver, tried, now)
	n.report(ctx, before, receiver)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	return receiver, n.Ledger.SaveDeliveries(ctx, deliveries, receiver, now)
}

// learn says how the receiver is after some tries that were made at the same time. One that accepted any of them is
// well: an event that it refuses has a backoff of its own.
func learn(receiver mysql.Receiver, tried []Answer, now time.Time) mysql.Receiver {
	var wait time.Duration
	accepted := false
	for _, a := range tried {
		wait, accepted = max(wait, a.Wait), accepted || a.Delivered
		if !a.Delivered {
			receiver.Answer = a.Text
		}
	}
	switch {
	case accepted:
		receiver.Failures, receiver.FailingSince, receiver.NextAt = 0, time.Time{}, now.Add(wait) // it may ask for a pause
		receiver.DeliveredAt = now
	case len(tried) > 0:
		receiver.Failures++
		receiver.NextAt = now.Add(max(wait, backoff(receiver.Failures)))
		if receiver.FailingSince.IsZero() {
			receiver.FailingSince = now
		}
	}
	return receiver
}

// report logs when the receiver begins to fail, and when it works again.
func (n *Notifier) report(ctx context.Context, before, after mysql.Receiver) {
	switch {
	case before.Failures == 0 && after.Failures > 0:
		n.Log.WarnContext(ctx, "the receiver of notifications fails; they are sent again",
			slog.String("answer", after.Answer))
	case before.Failures > 0 && after.Failures == 0:
		n.Log.InfoContext(ctx, "the receiver of notifications accepts them again",
			slog.Time("failing_since", before.FailingSince), slog.Int("failures", before.Failures))
	}
}
