package console

import (
	"context"
	"strings"
)

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
