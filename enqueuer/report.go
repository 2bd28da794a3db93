package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

func newReportCommand(a *app) *cobra.Command {
	var user, since, until string
	var out *cli.Format
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Print the evidence of erasures of a user or a period",
		Long: `report prints the evidence that the ledger holds, for an auditor: one line for
each object generation (bucket, name, generation, size, outcome, times) and one
for each certificate whose links were cleared. It holds numeric ids, bucket and
object names, and no other personal data. Lines are printed as they are read,
however many there are. json means one object on each line.

Times are RFC 3339 or dates (midnight UTC); --since is included, --until is
not.

` + cli.Exits{
			cli.ExitUsage: "bad input, or the LMS does not have the user", cli.ExitUnavailable: "",
			cli.ExitConfiguration: "", cli.ExitNotKnown: "with --user: no request was ever made for the user",
			cli.ExitNothing: "with --user: requests were made, and left no evidence",
		}.String(),
		Example: "  enqueuer report --user 42\n" +
			"  enqueuer report --since 2026-01-01 --until 2026-02-01 > january.csv",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := evidenceFilter(user, since, until)
			if err != nil {
				return err
			}
			_, store, err := a.openStore()
			if err != nil {
				return err
			}
			defer store.Close()
			show := a.reportCSV
			if *out == "json" {
				show = a.reportJSON
			}
			found := 0
			err = show(func(do func(mysql.EvidenceRecord) error) error {
				return store.EachEvidence(cmd.Context(), filter, func(r mysql.EvidenceRecord) error {
					found++
					return do(r)
				})
			})
			if err == nil && found == 0 && filter.User != 0 {
				return nothingOf(cmd.Context(), store, filter.User, "no evidence"+during(filter))
			}
			return cli.Unavailable(err)
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "evidence of this `USER_ID`, also of objects that are not settled yet")
	cmd.Flags().StringVar(&since, "since", "", "evidence settled at this `TIME` or later")
	cmd.Flags().StringVar(&until, "until", "", "evidence settled before this `TIME`")
	out = cli.FormatFlag(cmd, "csv", "json")
	return cmd
}

func evidenceFilter(user, since, until string) (mysql.EvidenceFilter, error) {
	var f mysql.EvidenceFilter
	var err error
	if user == "" && since == "" && until == "" {
		return f, cli.Usage("expected --user, or --since and --until (see enqueuer report --help)")
	}
	if user != "" {
		if f.User, err = purge.ParseUserID(user); err != nil {
			return f, cli.Usage("--user: %w", err)
		}
	}
	f.Since, f.Until, err = parsePeriod(since, until)
	return f, err
}

// during says that only a period was requested.
func during(f mysql.EvidenceFilter) string {
	if f.Since.IsZero() && f.Until.IsZero() {
		return ""
	}
	return " of this period"
}

// parsePeriod reads --since and --until; either may be empty.
func parsePeriod(since, until string) (from, to time.Time, err error) {
	if from, err = parseTime("--since", since); err != nil {
		return from, to, err
	}
	if to, err = parseTime("--until", until); err != nil {
		return from, to, err
	}
	if !from.IsZero() && !to.IsZero() && !from.Before(to) {
		return from, to, cli.Usage("--since must be before --until")
	}
	return from, to, nil
}

// parseTime reads an RFC 3339 time or a date; empty is the zero time.
func parseTime(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, cli.Usage("%s: %.40q is no time: expected 2026-01-31 or 2026-01-31T12:00:00Z", flag, text)
}

// evidence calls do with each record that was requested.
type evidence func(do func(mysql.EvidenceRecord) error) error

func (a *app) reportJSON(each evidence) error {
	encoder := json.NewEncoder(purge.EscapedJSON{W: a.streams.Out})
	return each(func(r mysql.EvidenceRecord) error { return encoder.Encode(r) })
}

func (a *app) reportCSV(each evidence) error {
	w := cli.NewCSV(a.streams.Out)
	_ = w.Write([]string{
		"kind", "at", "outcome", "user_id", "certificate_id", "source_table", "request_id", "attempt", "bucket", "object",
		"generation",
		"size", "cache_control", "until", "references_cleared", "listed_at", "accepted_by",
	}) // Error tells
	err := each(func(r mysql.EvidenceRecord) error {
		_ = w.Write([]string{
			r.Kind, formatTime(r.At), string(r.Outcome), number(r.UserID), number(r.CertificateID), string(r.SourceTable),
			number(r.RequestID), strconv.Itoa(r.Attempt), r.Bucket, r.Name, number(r.Generation), number(r.Size), r.CacheControl,
			formatTime(r.Until), strconv.Itoa(r.ReferencesCleared), formatTime(r.ListedAt), r.AcceptedBy,
		}) // Error tells
		return w.Error()
	})
	w.Flush()
	if err == nil {
		if err = w.Error(); err != nil {
			err = fmt.Errorf("writing the report: %w", err)
		}
	}
	return err
}

func number[T ~int64](n T) string { return strconv.FormatInt(int64(n), 10) }
