package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/certpurge/certpurge/internal/sandbox/demo/dataset"
)

// Report is the outcome of a run.
type Report struct {
	Scenario string `json:"scenario"`
	Seed     uint64 `json:"seed"`
	Users    int    `json:"users"`    // of the site
	Requests int    `json:"requests"` // users whose purge was asked for
	Retries  int    `json:"retries"`  // attempts beyond the first, of all requests

	Faults []Line         `json:"faults"`
	Ends   map[string]int `json:"ends"` // requests by state and reason

	DeadLetters *DeadLetterTable `json:"dead_letters,omitempty"`

	ObjectsErased     int `json:"objects_erased"` // these three from the check at the end
	ReferencesCleared int `json:"references_cleared"`
	ObjectsHeldBack   int `json:"objects_held_back"`
	// users an operator asks for again: no permission, or never accepted
	AskedAgain       int   `json:"asked_again"`
	EnqueuesRepeated int64 `json:"enqueues_repeated"` // commands that failed because a server was down
	WorkersEnded     int64 `json:"workers_ended"`     // and were started again, but for the last ones

	Observer Watch `json:"observer"`

	Violations     []string `json:"violations"`
	NotShown       int      `json:"violations_not_shown"`
	OK             bool     `json:"ok"`
	QuiesceSeconds float64  `json:"calm_seconds"` // from the last fault to the last end
	Seconds        float64  `json:"seconds"`
}

// report sums up.
func (r *run) report(ctx context.Context) (Report, error) {
	s, err := r.standing(ctx)
	if err != nil {
		return Report{}, err
	}
	b := r.tally
	b.mu.Lock()
	defer b.mu.Unlock()
	report := Report{
		Scenario: r.Scenario, Seed: r.Seed, Users: len(r.data.Users), Requests: len(s.known), Ends: map[string]int{},
		DeadLetters:   r.dead,
		ObjectsErased: r.findings.ObjectsErased, ReferencesCleared: r.findings.ReferencesCleared,
		ObjectsHeldBack: r.findings.ObjectsHeldBack,
		AskedAgain:      r.askedAgain, EnqueuesRepeated: b.repeated.Load(), WorkersEnded: b.restarts.Load(),
		Observer: r.observer.watched(), Violations: b.violations, NotShown: b.more,
		OK:             len(b.violations) == 0 && r.findings.OK(),
		QuiesceSeconds: rounded(r.ended.Sub(r.stormed)), Seconds: rounded(time.Since(r.begun)),
	}
	for _, attempts := range s.attempts {
		report.Retries += max(0, attempts-1)
	}
	for end, n := range r.findings.Ends {
		report.Ends[name(end)] = n
	}
	for _, f := range r.faults {
		line := *b.lines[f.name]
		line.Users, line.Skipped, line.Seconds = len(line.members), line.Episodes == 0, float64(int(line.Seconds*100))/100
		for user := range line.members {
			line.Retries += max(0, s.attempts[user]-1)
		}
		report.Faults = append(report.Faults, line)
	}
	return report, nil
}

func name(end dataset.End) string {
	if end.Reason == "" {
		return string(end.State)
	}
	return string(end.State) + ": " + string(end.Reason)
}

// print prints the report.
func (r *run) print(report Report) error {
	table := tabwriter.NewWriter(r.people, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(table, "\nfault\tepisodes\tinjected\tusers\tretries\tviolations\tseconds\t")
	for _, l := range report.Faults {
		_, _ = fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%.1f\t\n", l.Fault, l.Episodes, l.Injected, l.Users, l.Retries,
			l.Violations, l.Seconds)
	}
	_, _ = fmt.Fprintf(table, "all\t\t\t%d\t%d\t%d\t%.1f\t\n", report.Requests, report.Retries,
		len(report.Violations)+report.NotShown, report.Seconds)
	if d := report.DeadLetters; d != nil {
		_, _ = fmt.Fprintln(table, "\nusers\tfailed\tothers\tarchive at most\trequeued\tdone\tblocked\tuntil all "+
			"failed\tuntil all were done\t")
		_, _ = fmt.Fprintf(table, "%d\t%d\t%d\t%d\t%d\t%d\t%d\t%.1f s\t%.1f s\t\n", d.Users, d.Failed, d.Others, d.ArchiveMax,
			d.Requeued, d.Done,
			d.Blocked, d.FailSeconds, d.MendedSeconds)
	}
	_ = table.Flush()
	if len(report.Faults) > 1 {
		r.printf("(a user belongs to every fault of the mixture that it met)\n")
	}
	r.printf("\nends: %v\n", report.Ends)
	r.printf("%d objects erased, %d references cleared, %d objects held back; asked again for %d users; %d enqueue "+
		"commands repeated\n",
		report.ObjectsErased, report.ReferencesCleared, report.ObjectsHeldBack, report.AskedAgain, report.EnqueuesRepeated)
	w := report.Observer
	r.printf("observer: %d looks at %d cleared references, %d sweeps over everything, longest gap %.1fs\n", w.Looks,
		w.Cleared, w.Sweeps, w.LongestGap)
	r.printf("quiet after the last fault: %.1fs\n", report.QuiesceSeconds)
	for _, v := range report.Violations {
		r.printf("VIOLATION: %s\n", v)
	}
	if report.NotShown > 0 {
		r.printf("and %d more\n", report.NotShown)
	}
	if report.OK {
		r.printf("Nothing that must hold was violated.\n")
	}
	if !r.JSON {
		return nil
	}
	line, err := json.Marshal(report)
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if _, err := io.WriteString(r.Out, string(line)+"\n"); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}
