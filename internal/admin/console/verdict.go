package console

import (
	"fmt"
	"time"

	"github.com/certpurge/certpurge/internal/queue/presence"
)

// verdict is the answer to the first question.
type verdict struct {
	Level string // ok, warn or bad
	Word  string // the level in a word, because colour alone does not reach every reader
	Title string
	Notes []string // what else is wrong
}

// stallTime is how long requests may be due without one that ends, before that is called a standstill.
const stallTime = 10 * time.Minute

// judge says how it stands. What is wrong first goes first.
func judge(v view) verdict {
	var bad, warn []string
	if v.LedgerErr != "" {
		bad = append(bad, "The ledger in MySQL cannot be read: "+v.LedgerErr)
	}
	if v.QueuesErr != "" {
		bad = append(bad, "The queues in Redis cannot be read: "+v.QueuesErr)
	}
	for _, p := range v.Problems {
		bad = append(bad, "This process is not ready: "+p)
	}
	due := v.OldestDue != nil
	switch {
	case v.QueuesKnown && v.QueuesErr == "" && presence.NonePulls(v.Workers) != "" && due:
		bad = append(bad, several(v.Open, "request is", "requests are")+" open, and "+presence.NonePulls(v.Workers)+".")
	case due && v.LedgerKnown && v.Progress.Ten == 0 && v.Now.Sub(*v.OldestDue) > stallTime:
		bad = append(bad, fmt.Sprintf("No request was done in the last ten minutes, and the oldest one waits since %s.",
			age(v.Now, *v.OldestDue)))
	}
	for _, w := range v.Workers {
		if w.State == presence.Paused && presence.CountPulling(v.Workers) > 0 {
			warn = append(warn, "Worker "+w.String()+".")
		}
	}
	if v.Broken && v.QueuesErr == "" {
		warn = append(warn, "asynq's own statistics fail, and with them parts of the dashboard: a task in Redis is broken. "+
			"`enqueuer doctor --fix` forgets it; the ledger has its request.")
	}
	for _, d := range v.Depths {
		if d.Paused {
			warn = append(warn, fmt.Sprintf("Queue %s is paused: %s until an operator resumes it.", d.Queue,
				several(int64(d.Pending), "task waits", "tasks wait")))
		}
	}
	if v.Progress.Failed > 0 {
		warn = append(warn, several(v.Progress.Failed, "request has", "requests have")+" failed in the last hour.")
	}
	if n := len(v.findings()); n > 0 {
		warn = append(warn, "The doctor has "+several(int64(n), "find", "finds")+"; see below.")
	}
	word, sentence := "Idle", "No request is open."
	switch {
	case due:
		word, sentence = "Working", several(v.Progress.Ten, "request was", "requests were")+" done in the last ten minutes, "+
			number(v.Open)+" are open."
	case v.Open > 0:
		word, sentence = "Waiting", "Nothing is due. "+several(v.Open, "request waits", "requests wait")+" for a date."
	}
	switch {
	case len(bad) > 0:
		return verdict{"bad", "Problem", bad[0], append(bad[1:], warn...)}
	case len(warn) > 0:
		return verdict{"warn", "Warning", sentence, warn}
	default:
		return verdict{"ok", word, sentence, nil}
	}
}
