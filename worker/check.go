package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/gcs"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/survey"
)

func newCheckCommand(s cli.Streams, path *string) *cobra.Command {
	var out *cli.Format
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check what the worker needs, and print how to fix what is wrong",
		Long: `check runs the checks that the worker runs at its start, in the order in which
it is set up: the configuration; MySQL, the ledger's version, each right of the
account, the server's clock; Redis, the commands that asynq needs, its eviction
policy and persistence; the Google credentials, their account and their source;
each bucket, its rights and what its settings mean; each location, both
directories, and a sample of the links.

Each line is ok, warning, wrong, or skipped because something that it needs is
wrong. Under each wrong line is the command to run next. A warning
does not keep the worker from purging.

MySQL and Redis are tested by writes that change nothing. Nothing else is
changed.

` + cli.Exits{
			cli.ExitOK:            "the worker can purge",
			cli.ExitUnavailable:   "a server cannot be reached, which may pass",
			cli.ExitConfiguration: "a check failed: the worker would not purge",
		}.String(),
		Example: "  worker --config worker.yaml check\n  worker --config worker.yaml check -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			lines, err := runChecks(cmd.Context(), s, *path)
			if cmd.Context().Err() != nil {
				return cmd.Context().Err()
			}
			var printed error
			if *out == "json" {
				printed = cli.PrintJSON(s.Out, lines)
			} else {
				printLines(s, lines)
			}
			return cmp.Or(printed, err)
		},
	}
	out = cli.FormatFlag(cmd)
	return cmd
}

// The states of a line.
const (
	lineOK      = "ok"
	lineWarning = "warning"
	lineWrong   = "wrong"
	lineSkipped = "skipped"
)

// line is the result of one check, or one warning of it.
type line struct {
	Check string `json:"check"`
	State string `json:"state"`
	Text  string `json:"text"`
	Next  string `json:"next,omitempty"` // the command to type
}

// runChecks makes all checks. Its error says what the lines mean for the exit code.
func runChecks(ctx context.Context, s cli.Streams, path string) ([]line, error) {
	var lines []line
	c := checker{path: path}
	var err error
	c.cfg, c.locations, err = load(path, s.Environ)
	if err != nil {
		lines = configurationLines(err)
		// Only locations are missing: all else can be checked, and it is needed to find them.
		if c.cfg, c.locations, err = loadForSurvey(path, s.Environ); err != nil {
			return lines, cli.Errorf(cli.ExitConfiguration, "the configuration is wrong, so nothing else was checked")
		}
	} else {
		lines = append(lines, line{
			Check: "configuration", State: lineOK,
			Text: cmp.Or(path, "defaults and environment variables"),
		})
	}
	if c.store, err = cli.OpenStore(c.cfg.MySQL, c.cfg.LMS); err != nil {
		return append(lines, wrongLine("MySQL", err)), failure(err)
	}
	defer c.store.Close()
	if c.redis, err = cli.NewRedis(c.cfg.Redis); err != nil {
		return append(lines, wrongLine("Redis", err)), failure(err)
	}
	defer c.redis.Close()
	failed := map[string]error{} // by group
	c.objects, err = gcs.Open(ctx, gcs.Config{GCS: c.cfg.GCS, Locations: c.locations, Environ: s.Environ})
	if err != nil {
		failed[groupAccount] = err
	} else {
		defer c.objects.Close()
	}
	more, err := c.lines(ctx, failed)
	return append(lines, more...), cmp.Or(err, verdictOfLines(lines))
}

// lines runs the checks, except those that need something that has failed.
func (c *checker) lines(ctx context.Context, failed map[string]error) ([]line, error) {
	var lines []line
	var errs []error
	for _, check := range c.all() {
		missing := slices.IndexFunc(check.needs, func(group string) bool { return failed[group] != nil })
		before := failed[check.group]
		switch {
		case check.name == groupAccount && before != nil: // they were not found when the store was opened
			lines = append(lines, line{check.name, lineWrong, before.Error(), check.next(before)})
			errs = append(errs, before)
			continue
		case missing >= 0:
			lines = append(lines, line{Check: check.name, State: lineSkipped, Text: "needs " + check.needs[missing]})
			continue
		case before != nil && !check.independent:
			lines = append(lines, line{Check: check.name, State: lineSkipped, Text: "see above"})
			continue
		}
		a, err := check.run(ctx)
		if ctx.Err() != nil {
			return lines, ctx.Err()
		}
		if err != nil {
			failed[check.group] = err
			errs = append(errs, err)
			l := line{Check: check.name, State: lineWrong, Text: err.Error()}
			if check.next != nil {
				l.Next = check.next(err)
			}
			lines = append(lines, l)
		}
		for _, w := range a.warnings {
			lines = append(lines, line{check.name, lineWarning, w.text, w.next})
		}
		if err == nil && len(a.warnings) == 0 {
			lines = append(lines, line{Check: check.name, State: lineOK, Text: a.facts})
		}
	}
	return lines, failure(errs...)
}

// failure returns the error for the failed checks. The exit code says whether one of them will not pass by itself.
func failure(errs ...error) error {
	if len(errs) == 0 {
		return nil
	}
	code, text := cli.ExitUnavailable, "something cannot be reached, which may pass"
	for _, err := range errs {
		if class := purge.ClassOf(err); class != purge.Unavailable && class != purge.Transient && class != purge.Throttled ||
			cli.ExitCode(err) == cli.ExitConfiguration {
			code, text = cli.ExitConfiguration, "the worker would not purge"
		}
	}
	return cli.Errorf(code, "%s: %s", survey.Count(len(errs), "check")+" failed", text)
}

// verdictOfLines is the error of the lines about the configuration.
func verdictOfLines(lines []line) error {
	if slices.ContainsFunc(lines, func(l line) bool { return l.State == lineWrong }) {
		return cli.Errorf(cli.ExitConfiguration, "the configuration is wrong")
	}
	return nil
}

func wrongLine(check string, err error) line {
	return line{Check: check, State: lineWrong, Text: err.Error(), Next: "worker config validate"}
}

// configurationLines are the broken rules of a configuration.
func configurationLines(err error) []line {
	problems := []string{err.Error()}
	if e, ok := errors.AsType[*config.Error](err); ok {
		problems = e.Problems
	}
	var lines []line
	for _, problem := range problems {
		next := "worker config validate, once it is fixed; docs/configuration.md explains each key"
		switch {
		case strings.Contains(problem, "mysql.dsn"):
			next = "export CERTPURGE_MYSQL_DSN='certpurge_worker:PASSWORD@tcp(HOST:3306)/certpurge'"
		case strings.Contains(problem, "locations: must have"):
			next = "worker locations --suggest --bucket YOUR-BUCKET"
		}
		lines = append(lines, line{Check: "configuration", State: lineWrong, Text: problem, Next: next})
	}
	return lines
}

// printLines prints a line for each check, folded on a terminal.
func printLines(s cli.Streams, lines []line) {
	width, widest := cli.Width(s.Out), 0
	for _, l := range lines {
		widest = max(widest, len(l.Check))
	}
	indent := len(lineWarning) + 2 + widest + 2
	for _, l := range lines {
		head := fmt.Sprintf("%s%*s  %-*s  ", s.Paint(l.State), len(lineWarning)-len(l.State), "", widest,
			cli.Escape(l.Check))
		for i, part := range cli.Fold(cli.EscapeLines(l.Text), width-indent) {
			if i > 0 {
				head = strings.Repeat(" ", indent)
			}
			_, _ = fmt.Fprintln(s.Out, strings.TrimRight(head+part, " "))
		}
		if l.Next != "" {
			// whole, to be copied
			_, _ = fmt.Fprintln(s.Out, strings.Repeat(" ", len(lineWarning)+2)+"next: "+cli.Escape(l.Next))
		}
	}
}
