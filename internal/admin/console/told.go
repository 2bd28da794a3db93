package console

import "context"

// Verdict returns what the overview says first: its level (ok, warn or bad) and its sentences. known is false while
// something is being read for the first time.
func (c *Console) Verdict(ctx context.Context) (level, title string, known bool) {
	v := c.look(ctx)
	known = (v.LedgerKnown || v.LedgerErr != "") && (v.QueuesKnown || v.QueuesErr != "") &&
		(!v.Doctors || v.Doctor.Known() || v.Doctor.Err != nil)
	title = v.Verdict.Title.Text
	for _, n := range v.Verdict.Notes {
		title += " " + n.Text
	}
	return v.Verdict.Level, title, known
}
