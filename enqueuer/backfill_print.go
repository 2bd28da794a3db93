package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/certpurge/certpurge/internal/backfill"
	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/purge"
)

// backfilled is what a run did, as -o json prints it.
type backfilled struct {
	Executed bool   `json:"executed"`
	Source   string `json:"source"`
	Unit     string `json:"unit"` // what is counted: users, or certificates
	backfill.Summary
	Capped     bool             `json:"capped"`
	Duplicates int              `json:"duplicates,omitempty"`
	Passed     *backfill.Passed `json:"passed_over,omitempty"`
	Ended      *backfill.Ended  `json:"ended,omitempty"` // with --wait
	Seconds    float64          `json:"seconds"`
}

// describe adds what only this kind of source knows.
func (b *backfilled) describe(source backfill.Source) {
	b.Unit = "users"
	switch s := source.(type) {
	case *backfill.Retired:
		b.Passed = &s.Passed
	case *backfill.UserList:
		b.Duplicates = s.Duplicates
	case *backfill.Certificates:
		b.Duplicates, b.Unit = s.Duplicates, "certificates"
	}
}

// numbers writes 12,345.
var numbers = message.NewPrinter(language.English)

func (a *app) printBackfilled(b backfilled, o backfillOptions) error {
	if *o.output == "json" {
		return a.printJSON(b)
	}
	if b.Complete && b.Users == 0 && b.Earlier > 0 {
		a.printf("%s %s were requested by earlier runs; nothing is left\n", numbers.Sprint(b.Earlier), b.Unit)
		return nil
	}
	a.printf("%s %s requested in %v%s\n", numbers.Sprint(b.Users), b.Unit,
		time.Duration(b.Seconds*float64(time.Second)).Round(time.Millisecond), foundText(b.Found, b.Closed))
	if b.Earlier > 0 {
		a.printf("%s were requested by earlier runs\n", numbers.Sprint(b.Earlier))
	}
	a.printPassed(b.Passed, b.Duplicates)
	if e := b.Ended; e != nil {
		a.printf("%s done, %s done with files missing, %s refused, %s failed, %s wait for a date\n", numbers.Sprint(e.Done),
			numbers.Sprint(e.Missing), numbers.Sprint(e.Refused), numbers.Sprint(e.Failed), numbers.Sprint(e.Waiting))
	}
	return nil
}

func (a *app) printPassed(p *backfill.Passed, duplicates int) {
	if p != nil && p.Requests > 0 {
		a.printf("of %s retirement requests: %s not eligible, %s of other dates, %s without references\n",
			numbers.Sprint(p.Requests),
			numbers.Sprint(p.NotEligible), numbers.Sprint(p.OtherDates), numbers.Sprint(p.NoReference))
	}
	if duplicates > 0 {
		a.printf("%s ids were listed more than once\n", numbers.Sprint(duplicates))
	}
}

// foundText says in which states the submissions met their requests; it leaves out what no submission met.
func foundText(found map[purge.Found]int, closed int) string {
	var parts []string
	for _, state := range []purge.Found{
		purge.FoundNew, purge.Found(purge.Queued), purge.Found(purge.Running),
		purge.Found(purge.Refused), purge.Found(purge.Failed),
	} {
		if n := found[state]; n > 0 {
			parts = append(parts, numbers.Sprintf("%d %s", n, map[purge.Found]string{
				purge.FoundNew: "new", purge.Found(purge.Queued): "queued already", purge.Found(purge.Running): "running already",
				purge.Found(purge.Refused): "refused before", purge.Found(purge.Failed): "failed before",
			}[state]))
		}
	}
	if closed > 0 {
		parts = append(parts, numbers.Sprintf("%d done before", closed))
	}
	if n := found[purge.Found(purge.Done)] - closed; n > 0 {
		parts = append(parts, numbers.Sprintf("%d done before and with links again", n))
	}
	if len(parts) == 0 {
		return ""
	}
	return ": " + strings.Join(parts, ", ")
}

// planned is what a dry run found, as -o json prints it.
type planned struct {
	Executed bool   `json:"executed"`
	Source   string `json:"source"`
	Unit     string `json:"unit"` // what is counted: users, or certificates
	backfill.Plan
	Duplicates int              `json:"duplicates,omitempty"`
	Passed     *backfill.Passed `json:"passed_over,omitempty"`
	Seconds    float64          `json:"estimated_seconds,omitempty"` // at --rate
}

func (a *app) printPlan(plan backfill.Plan, source backfill.Source, o backfillOptions) error {
	p := planned{Source: source.Fingerprint(), Plan: plan}
	var more backfilled
	more.describe(source)
	p.Unit, p.Passed, p.Duplicates = more.Unit, more.Passed, more.Duplicates
	if o.rate > 0 {
		p.Seconds = backfill.Estimate(plan.Users, o.rate).Seconds()
	}
	if *o.output == "json" {
		return a.printJSON(p)
	}
	if plan.Complete {
		a.printf("%s %s were requested by earlier runs; nothing is left\n", numbers.Sprint(plan.Earlier), p.Unit)
		return nil
	}
	w := tabwriter.NewWriter(a.streams.Out, 0, 4, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		cli.Printf(w, "%s\t%s\n", name, numbers.Sprintf(format, args...))
	}
	row("source", "%s", p.Source)
	row(p.Unit, "%d would be requested%s", plan.Users, foundText(plan.Found, plan.Closed))
	if plan.Capped {
		row("", "there are more than --max-users")
	}
	row("to purge", "%d certificates, with up to %d files", plan.Certificates, plan.Files)
	if plan.Odd > 0 {
		row("unrecognised", "at least %d references from which no file can be named; their users would fail", plan.Odd)
		row("", "(the workers know the locations, and may find more)")
	}
	for _, reason := range slices.Sorted(maps.Keys(plan.Refused)) {
		row("would be refused", "%d as %s, such as %s", plan.Refused[reason], reason, listed(plan.RefusedSamples[reason], 10))
	}
	if plan.NoReference > 0 {
		row("nothing to purge", "%d", plan.NoReference)
	}
	if len(plan.Samples) > 0 {
		row("such as users", "%s", listed(plan.Samples, 10))
	}
	if o.rate > 0 {
		row("submitting takes", "%v at --rate %v", backfill.Estimate(plan.Users, o.rate), o.rate)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	a.printPassed(p.Passed, p.Duplicates)
	a.printf("dry run: nothing was changed (use --execute)\n")
	return nil
}
