package console

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/certpurge/certpurge/internal/queue/presence"
)

// verdict is the answer to the first question.
type verdict struct {
	Level string // ok, warn or bad
	Word  string // the level in a word, because colour alone does not reach every reader
	Title note
	Notes []note // what else is wrong
}

// note is a sentence with the way on from it.
type note struct {
	Text    string
	Runbook string // the name of its page in docs/operations; may be empty
	Fix     string // the path of an operation that fixes it; may be empty
	FixText string
}

// stallTime is how long requests may be due without one that ends, before that is called a standstill.
const stallTime = 10 * time.Minute

// looseTime is how old evidence may be that is in no anchor: far above the default of evidence.anchor_interval, and the
// same as in the alert CertpurgeEvidenceUnanchored.
const looseTime = 2 * time.Hour

// judge says how it stands. What is wrong first goes first.
func judge(v view) verdict {
	bad, warn := problems(v), warnings(v)
	word, sentence := "Idle", "No request is open."
	switch {
	case v.OldestDue != nil:
		word, sentence = "Working", several(v.Progress.Ten, "request was", "requests were")+" done in the last ten minutes, "+
			number(v.Open)+" are open."
	case v.Open > 0:
		word, sentence = "Waiting", "Nothing is due. "+several(v.Open, "request waits", "requests wait")+" for a date."
	}
	switch {
	case len(bad) > 0:
		return verdict{"bad", "Problem", bad[0], append(bad[1:], warn...)}
	case len(warn) > 0:
		return verdict{"warn", "Warning", note{Text: sentence}, warn}
	default:
		return verdict{"ok", word, note{Text: sentence}, nil}
	}
}

// problems are what keeps requests from being done.
func problems(v view) (bad []note) {
	if v.LedgerErr != "" {
		bad = append(bad, note{Text: "The ledger in MySQL cannot be read: " + v.LedgerErr, Runbook: "ledger-unreadable"})
	}
	if v.QueuesErr != "" {
		bad = append(bad, note{Text: "The queues in Redis cannot be read: " + v.QueuesErr, Runbook: "queue-unreadable"})
	}
	for _, p := range v.Problems {
		bad = append(bad, note{Text: "This process is not ready: " + p, Runbook: "unready"})
	}
	due := v.OldestDue != nil
	switch {
	case v.QueuesKnown && v.QueuesErr == "" && presence.NonePulls(v.Workers) != "" && due:
		bad = append(bad, note{
			Text:    several(v.Open, "request is", "requests are") + " open, and " + presence.NonePulls(v.Workers) + ".",
			Runbook: "no-workers",
		})
	case due && v.LedgerKnown && v.Progress.Ten == 0 && v.Now.Sub(*v.OldestDue) > stallTime:
		bad = append(bad, note{
			Text: fmt.Sprintf("No request was done in the last ten minutes, and the oldest one waits since %s.",
				age(v.Now, *v.OldestDue)),
			Runbook: "no-progress",
		})
	}
	return bad
}

// warnings are what an operator should look at.
func warnings(v view) (warn []note) {
	for _, w := range v.Workers {
		if w.State == presence.Paused && presence.CountPulling(v.Workers) > 0 {
			warn = append(warn, note{Text: "Worker " + w.String() + ".", Runbook: "unready"})
		}
	}
	if v.Broken && v.QueuesErr == "" {
		warn = append(warn, note{
			Text: "asynq's own statistics fail, and with them parts of the dashboard: a task in Redis is broken. " +
				"`enqueuer doctor --fix` forgets it; the ledger has its request.",
			Runbook: "broken-task", Fix: "/doctor/fix", FixText: "Forget it",
		})
	}
	for _, d := range v.Depths {
		if d.Paused {
			warn = append(warn, note{
				Text: fmt.Sprintf("Queue %s is paused: %s until an operator resumes it.", d.Queue,
					several(int64(d.Pending), "task waits", "tasks wait")),
				Runbook: "queue-paused", Fix: "/queues/" + d.Queue + "/resume", FixText: "Resume it",
			})
		}
	}
	if !v.Loose.IsZero() && v.Now.Sub(v.Loose) > looseTime {
		warn = append(warn, note{
			Text:    "Evidence of " + age(v.Now, v.Loose) + " ago is in no anchor yet: what is in none can be removed unseen.",
			Runbook: "evidence-unanchored",
		})
	}
	if v.Progress.Failed > 0 {
		warn = append(warn, note{
			Text:    several(v.Progress.Failed, "request has", "requests have") + " failed in the last hour.",
			Runbook: "failures",
		})
	}
	if findings := v.findings(); len(findings) > 0 {
		n := note{Text: "The doctor has " + several(int64(len(findings)), "find", "finds") + "; see below."}
		for _, f := range findings {
			if f.Fix != "" {
				n.Fix, n.FixText = "/doctor/fix", "Fix what is safe to fix"
			}
		}
		warn = append(warn, n)
	}
	return warn
}

// Verdict returns what the overview says first: its level (ok, warn or bad) and its sentences. known is false while
// something is being read for the first time.
func (c *Console) Verdict(ctx context.Context) (level, title string, known bool) {
	v := c.look(ctx)
	known = (v.LedgerKnown || v.LedgerErr != "") && (v.QueuesKnown || v.QueuesErr != "") &&
		(!v.Doctors || v.Doctor.Known() || v.Doctor.Err != nil)
	sentences := []string{v.Verdict.Title.Text}
	for _, n := range v.Verdict.Notes {
		sentences = append(sentences, n.Text)
	}
	return v.Verdict.Level, strings.Join(sentences, " "), known
}
