package main

import (
	"encoding/csv"
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
	var out *output
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Print the evidence of erasures, of a user or of a period, for an auditor",
		Long: `report prints what the ledger holds as evidence: one line for each object generation (bucket, name, generation, size,
outcome, times) and one for each certificate whose links were cleared. There are numeric ids, bucket and object names in it,
and nothing else of a person. Lines are printed as they are read, however many there are. json means one object on each line.

Times are RFC 3339 or dates (midnight UTC); --since is included, --until is not.

` + cli.ExitHelp,
		Example: "  enqueuer report --user 42\n  enqueuer report --since 2026-01-01 --until 2026-02-01 > january.csv",
		Args:    cobra.NoArgs,
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
			if *out == "json" {
				encoder := json.NewEncoder(a.streams.Out)
				return cli.Unavailable(store.EachEvidence(cmd.Context(), filter, func(r mysql.EvidenceRecord) error { return encoder.Encode(r) }))
			}
			return cli.Unavailable(a.reportCSV(cmd, store, filter))
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "evidence of this `USER_ID`, also of objects that are not settled yet")
	cmd.Flags().StringVar(&since, "since", "", "evidence settled at this `TIME` or later")
	cmd.Flags().StringVar(&until, "until", "", "evidence settled before this `TIME`")
	out = a.outputFlag(cmd, "csv", "json")
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
	if f.Since, err = parseTime("--since", since); err != nil {
		return f, err
	}
	f.Until, err = parseTime("--until", until)
	return f, err
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

func (a *app) reportCSV(cmd *cobra.Command, store *mysql.Store, filter mysql.EvidenceFilter) error {
	w := csv.NewWriter(a.streams.Out)
	_ = w.Write([]string{
		"kind", "at", "outcome", "user_id", "certificate_id", "source_table", "request_id", "attempt", "bucket", "object", "generation",
		"size", "cache_control", "until", "references_cleared", "listed_at",
	}) // Error tells
	err := store.EachEvidence(cmd.Context(), filter, func(r mysql.EvidenceRecord) error {
		_ = w.Write([]string{
			r.Kind, formatTime(r.At), string(r.Outcome), number(r.UserID), number(r.CertificateID), string(r.SourceTable),
			number(r.RequestID), strconv.Itoa(r.Attempt), r.Bucket, r.Name, number(r.Generation), number(r.Size), r.CacheControl,
			formatTime(r.Until), strconv.Itoa(r.ReferencesCleared), formatTime(r.ListedAt),
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
