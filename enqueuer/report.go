package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/certificate"
	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

func newReportCommand(a *app) *cobra.Command {
	var user, since, until, ticket string
	var out *cli.Format
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Print the evidence of erasures of a user or a period",
		Long: `report prints the evidence that the ledger holds, for an auditor: one line for
each object generation (bucket, name, generation, size, outcome, times) and one
for each certificate whose links were cleared. It holds numeric ids, bucket and
object names, the accounts of operators, and no other personal data. Lines are
printed as they are read, however many there are. json means one object on each
line.

With --user, text answers what an auditor asks, one question after the other:
who made the request and when, what was deleted, how it is proven, with which
bucket settings, what can still be recovered until when, and what certpurge
cannot know. documents prints the evidence itself as the ledger holds it, a
document on each line: its number in the ledger, its request, its number within
that request, its hash, and its canonical JSON, separated by tabs. The hash is
the SHA-256 of the hash of the request's document before it (32 zero bytes for
the first) and the JSON.

With --ticket it prints requests, a line each: those that were made with that
ticket, and those that were submitted, accepted or opened again with it.

The time of a piece of evidence is that of its outcome: when the attempt
recorded that the object is erased, or why it is not. While an object was only
listed for deletion, it has none, and --since and --until leave it out.

Times are RFC 3339 or dates (midnight UTC); --since is included, --until is
not.

` + cli.Exits{
			cli.ExitUsage: "bad input, or the LMS does not have the user", cli.ExitUnavailable: "",
			cli.ExitConfiguration: "",
			cli.ExitNotKnown:      "with --user: no request was ever made for the user;\nwith --ticket: none has this ticket",
			cli.ExitNothing:       "with --user: requests were made, and nothing was erased for them",
		}.String(),
		Example: "  enqueuer report --user 42\n" +
			"  enqueuer report --ticket PRIV-7\n" +
			"  enqueuer report --user 42 -o text\n" +
			"  enqueuer report --user 42 -o documents > evidence-42.tsv\n" +
			"  enqueuer report --since 2026-01-01 --until 2026-02-01 > january.csv",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if ticket != "" {
				return a.reportTicket(cmd.Context(), ticket, *out)
			}
			filter, err := evidenceFilter(user, since, until)
			if err != nil {
				return err
			}
			whole := *out == "text" || *out == "documents"
			if whole && (filter.User == 0 || since != "" || until != "") {
				return cli.Usage("-o %s is about one user, whole: expected --user, without --since and --until", *out)
			}
			cfg, store, err := a.openStore()
			if err != nil {
				return err
			}
			defer store.Close()
			if whole {
				return a.reportWhole(cmd.Context(), store, originOf(cfg), filter.User, *out)
			}
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
				return errNothing(cmd.Context(), store, filter.User, "no evidence of an erasure"+during(filter))
			}
			return cli.Unavailable(err)
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "evidence of this `USER_ID`, also of objects without an outcome yet")
	cmd.Flags().StringVar(&since, "since", "", "evidence whose outcome was recorded at this `TIME` or later")
	cmd.Flags().StringVar(&until, "until", "", "evidence whose outcome was recorded before this `TIME`")
	cmd.Flags().StringVar(&ticket, "ticket", "", "print the requests that have this `TICKET`, or an event with it")
	for _, flag := range []string{"user", "since", "until"} {
		cmd.MarkFlagsMutuallyExclusive("ticket", flag)
	}
	out = cli.FormatFlag(cmd, "csv", "json", "text", "documents")
	return cmd
}

// reportWhole prints all that is known of one user.
func (a *app) reportWhole(
	ctx context.Context, store *mysql.Store, from certificate.Origin, user purge.UserID, format cli.Format,
) (err error) {
	var found bool
	if format == "documents" {
		found, err = a.reportDocuments(ctx, store, user)
	} else {
		found, err = a.reportText(ctx, store, from, user)
	}
	if err == nil && !found {
		return errNothing(ctx, store, user, "no evidence")
	}
	return cli.Unavailable(err)
}

// reportTicket prints the requests with a ticket.
func (a *app) reportTicket(ctx context.Context, ticket string, format cli.Format) error {
	if format == "documents" {
		return cli.Usage("-o documents is about one user, whole: expected --user, without --ticket")
	}
	_, store, err := a.openStore()
	if err != nil {
		return err
	}
	defer store.Close()
	show := func(rows []mysql.Request) error { return a.printRequests(rows, nil, &format) }
	switch format {
	case "csv":
		show = cli.NewRequestList(a.streams.Out, format).Add
	case "json":
		encoder := json.NewEncoder(purge.EscapedJSON{W: a.streams.Out})
		show = func(rows []mysql.Request) error {
			for _, r := range rows {
				if err := encoder.Encode(r); err != nil {
					return fmt.Errorf("writing the report: %w", err)
				}
			}
			return nil
		}
	}
	found := false
	err = store.EachOfTicket(ctx, ticket, func(rows []mysql.Request) error {
		found = true
		return show(rows)
	})
	if err == nil && !found {
		err = cli.Errorf(cli.ExitNotKnown, "no request has the ticket %.80q", ticket)
	}
	return cli.Unavailable(err)
}

func evidenceFilter(user, since, until string) (mysql.EvidenceFilter, error) {
	var f mysql.EvidenceFilter
	var err error
	if user == "" && since == "" && until == "" {
		return f, cli.Usage("expected --user, --ticket, or --since and --until (see enqueuer report --help)")
	}
	if user != "" {
		if f.User, err = purge.ParseUserID(user); err != nil {
			return f, cli.Usage("--user: %w", err)
		}
	}
	f.Since, f.Until, err = parsePeriod(since, until)
	return f, err
}

// during completes the text "no evidence of an erasure" if the filter has a period.
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

// eachRecord calls do with each record to print.
type eachRecord func(do func(mysql.EvidenceRecord) error) error

func (a *app) reportJSON(each eachRecord) error {
	encoder := json.NewEncoder(purge.EscapedJSON{W: a.streams.Out})
	return each(func(r mysql.EvidenceRecord) error { return encoder.Encode(r) })
}

func (a *app) reportCSV(each eachRecord) error {
	lines := cli.NewCSV(a.streams.Out,
		"kind", "at", "outcome", "user_id", "certificate_id", "source_table", "request_id", "attempt", "bucket", "object",
		"generation", "size", "cache_control", "until", "references_cleared", "listed_at", "accepted_by", "requested_by",
		"ticket", "listings", "bucket_settings")
	err := each(func(r mysql.EvidenceRecord) error {
		listings, settings, err := proofCells(r)
		if err != nil {
			return err
		}
		lines.Row(r.Kind, r.At, r.Outcome, r.UserID, r.CertificateID, r.SourceTable, r.RequestID, r.Attempt, r.Bucket,
			r.Name, r.Generation, r.Size, r.CacheControl, r.Until, r.ReferencesCleared, r.ListedAt, r.AcceptedBy,
			r.RequestedBy, r.Ticket, listings, settings)
		return lines.Error()
	})
	if flushed := lines.Flush(); err == nil && flushed != nil {
		err = fmt.Errorf("writing the report: %w", flushed)
	}
	return err
}

// proofCells are the listings and the bucket's settings of a record as JSON; empty where there are none.
func proofCells(r mysql.EvidenceRecord) (listings, settings string, err error) {
	var texts [2][]byte
	if r.Listings != nil {
		texts[0], err = json.Marshal(r.Listings)
	}
	if r.Settings != nil && err == nil {
		texts[1], err = json.Marshal(r.Settings)
	}
	if err != nil {
		return "", "", fmt.Errorf("writing the report: %w", err)
	}
	return string(texts[0]), string(texts[1]), nil
}

// reportText prints the certificate of erasure in its text form.
func (a *app) reportText(
	ctx context.Context, store *mysql.Store, from certificate.Origin, user purge.UserID,
) (found bool, err error) {
	c, err := certificate.Read(ctx, store, user, from, time.Now())
	if err != nil || c == nil {
		return false, err
	}
	c.WriteText(a.printf)
	return c.Found(), nil
}

// reportDocuments prints the documents about a user, a line each: number in the ledger, request, number of the
// request's documents, hash in hex, and the document, separated by tabs, which canonical JSON does not hold. It is
// written as it is, byte for byte, because its hash is to be checked; only a terminal gets it escaped.
func (a *app) reportDocuments(ctx context.Context, store *mysql.Store, user purge.UserID) (found bool, err error) {
	out := a.streams.Out
	if cli.IsTerminal(out) {
		out = purge.EscapedJSON{W: out}
	}
	err = store.EachDocument(ctx, user, func(d mysql.LedgerDocument) error {
		found = true
		if _, err := fmt.Fprintf(out, "%d\t%d\t%d\t%x\t%s\n", d.ID, d.Request, d.Number, d.Hash, d.Text); err != nil {
			return errors.Join(errors.New("writing the documents"), err)
		}
		return nil
	})
	return found, err
}
