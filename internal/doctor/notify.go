package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/dustin/go-humanize/english"
)

// For how long notifications may wait before they are a finding.
const (
	receiverPatience = 30 * time.Minute // while the receiver accepts none
	waitPatience     = time.Hour        // for one, while others are accepted
	lookPatience     = 10 * time.Minute // while no process sends notifications
)

// notifications reports notifications that do not reach the receiver of notify.url.
func (d *Doctor) notifications(ctx context.Context) ([]Finding, error) {
	f, begun, err := d.Store.NotifyFigures(ctx)
	if err != nil || !begun {
		return nil, err
	}
	var findings []Finding
	now := d.Now()
	add := func(severity Severity, kind, text string) {
		findings = append(findings, Finding{Severity: severity, Kind: kind, Subject: "webhook", Text: text})
	}
	since := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	several := english.Plural(int(f.Waiting), "notification", "")
	switch {
	case f.Waiting == 0:
	case now.Sub(f.LookedAt) > lookPatience:
		add(Note, "notifications_stopped", fmt.Sprintf("%s not sent, because no process with a notify.url has run since %s. "+
			"Start `enqueuer serve` or `enqueuer watch`, or ignore this if the webhook was switched off.",
			english.PluralWord(int(f.Waiting), several+" is", several+" are"), since(f.LookedAt)))
	case f.Failures > 0 && now.Sub(f.FailingSince) > receiverPatience:
		add(Warn, "receiver_failing", fmt.Sprintf("The receiver of notify.url has accepted nothing since %s, in %s; the "+
			"latest answer: %s. %s for it. `enqueuer notify --test` shows what it answers now.", since(f.FailingSince),
			english.Plural(f.Failures, "try", "tries"), f.Answer, english.PluralWord(int(f.Waiting), several+" waits",
				several+" wait")))
	case now.Sub(f.Oldest) > waitPatience:
		add(Warn, "notifications_refused", fmt.Sprintf("The receiver of notify.url accepts notifications, but one has "+
			"waited since %s, of %d that wait; the latest answer that was no success: %s.", since(f.Oldest), f.Waiting,
			f.Answer))
	}
	if f.GivenUp > 0 {
		add(Warn, "notifications_given_up", fmt.Sprintf("The receiver of notify.url did not accept %s within "+
			"notify.max_age, and they are not sent any more. `enqueuer notify --retry` sends them again; after 30 days they "+
			"are forgotten.",
			english.Plural(int(f.GivenUp), "notification", "")))
	}
	return findings, nil
}
