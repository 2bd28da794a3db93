package demo

import (
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/certpurge/certpurge/internal/purge"
)

// lineEvery is how often a line says how far things are where there is no terminal.
const lineEvery = 2 * time.Second

// progress shows how far the purge is.
type progress struct {
	d     *demo
	total int
	bar   *progressbar.ProgressBar // nil without a terminal
	said  time.Time
}

func (d *demo) newProgress(total int) *progress {
	p := &progress{d: d, total: total, said: time.Now()}
	if d.Terminal {
		p.bar = progressbar.NewOptions(total,
			progressbar.OptionSetWriter(d.people),
			progressbar.OptionSetDescription("  Purging"),
			progressbar.OptionSetWidth(40),
			progressbar.OptionShowCount(),
			progressbar.OptionSetRenderBlankState(true),
			progressbar.OptionClearOnFinish(), // the line that follows says it all
			progressbar.OptionSetTheme(progressbar.Theme{Saucer: "█", SaucerPadding: "░", BarStart: "", BarEnd: ""}),
		)
	}
	return p
}

func (p *progress) show(t tally) {
	if p.bar != nil {
		_ = p.bar.Set(t.settled()) // a bar that cannot be drawn is no reason to stop
		return
	}
	if time.Since(p.said) >= lineEvery && t.settled() < p.total {
		p.said = time.Now()
		p.d.printf("  Purging: %s of %s users (%s done, %s refused, %s failed)\n", grouped(t.settled()), grouped(p.total),
			grouped(t.in(purge.Done)), grouped(t.in(purge.Refused)), grouped(t.in(purge.Failed)))
	}
}

// end takes the bar away.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Exit() // as in show
		_ = p.bar.Clear()
	}
}
