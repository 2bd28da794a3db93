package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/inventory"
	"github.com/certpurge/certpurge/internal/mysql"
)

func newInventoryCommand(s cli.Streams, path *string) *cobra.Command {
	var o inventoryOptions
	cmd := &cobra.Command{
		Use:   "inventory",
		Short: "List all objects in the locations; find files without a link",
		Long: `inventory lists every object generation below the directories of all locations
once, and joins the list with the references of the LMS and the evidence of the
ledger. It changes nothing; its result is kept in the ledger, where the console
shows it. Each directory is of one class:

  live        a row of a user who is not retiring holds its id: it must stay
  due         a row of a retiring user holds its id: a purge erases it
  back_again  the evidence says that it was erased, and objects are there again:
              a restored backup, a copy job
  orphan      no row of any table holds its id
  young       the same, but an object in it is younger than --min-age: perhaps
              a certificate that is being made
  odd         a name that no certificate has
  purged      it was purged after the inventory had listed it

A row counts with every id that it holds, wherever its link leads. The last
line says whether it can be stated that no file of a retired user is left below
these directories. Soft-deleted objects are in no listing.

Memory: 18 bytes for each id that a row holds and for each directory without
one, and 4 for each retiring user; a site with 1,000,000 certificates needs
about 70 MB, however many objects there are. The listing runs at gcs.read_rate,
a thousand objects for each request, and is written to a file. With
--checkpoint, a run that was interrupted, or whose listing failed, resumes from
that file, which is removed at the end.

--erase-orphans takes a list that --list orphan has written and an operator has
reviewed. It shows what would be erased. With --execute it makes requests of
500 directories each, which go through the ledger, the queue, the rate limits
and the proofs of every purge; the evidence names the operator and the list's
fingerprint. A directory is left if a row of the LMS holds its id by then, if
an object in it is younger than --older-than, or if it is below no location.
The request then ends as refused: not_orphan, after its other directories were
erased. The worker's account may not make requests, so --execute needs the
enqueuer's DSN.

` + cli.Exits{
			cli.ExitOK: "it can be stated that no file of a retired user is left;\nwith --erase-orphans: every " +
				"directory would be, or was, erased",
			cli.ExitUsage:       "",
			cli.ExitNotDone:     "it cannot be stated; with --erase-orphans: a directory would be,\nor was, left",
			cli.ExitUnavailable: "", cli.ExitConfiguration: "",
		}.String(),
		Example: "  worker inventory\n  worker inventory --checkpoint inventory.txt\n  worker inventory --list orphan > " +
			"orphans.csv\n" +
			"  worker inventory --erase-orphans orphans.csv\n  worker inventory --erase-orphans orphans.csv --execute --wait",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.erase.file != "" {
				return eraseOrphans(cmd, s, *path, o)
			}
			return takeInventory(cmd, s, *path, o)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.list, "list", nil, "print the directories of this `CLASS` instead of the figures, which go to "+
		"standard error; may be repeated")
	f.StringVar(&o.checkpoint, "checkpoint", "", "`FILE` from which an interrupted run resumes")
	cli.DurationFlag(f, &o.minAge, "min-age", 30*24*time.Hour, "a directory without a link that holds something younger "+
		"is young, not an orphan")
	f.StringVar(&o.erase.file, "erase-orphans", "", "erase the orphans of this `FILE`, as --list orphan has written it; "+
		"only with --execute")
	f.BoolVar(&o.erase.execute, "execute", false, "with --erase-orphans: make the requests")
	cli.DurationFlag(f, &o.erase.olderThan, "older-than", 30*24*time.Hour,
		"with --erase-orphans: leave a directory that holds something younger")
	f.StringVar(&o.erase.dsnFile, "enqueuer-dsn-file", "", "with --execute: `FILE` with the DSN of the enqueuer's "+
		"account, which makes the requests ($CERTPURGE_ENQUEUER_MYSQL_DSN)")
	f.BoolVar(&o.erase.wait, "wait", false, "with --execute: wait until the requests have ended")
	o.format = cli.FormatFlag(cmd, "text", "json", "csv")
	_ = cmd.RegisterFlagCompletionFunc("list", cobra.FixedCompletions(cli.Words(inventory.Classes()),
		cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

type inventoryOptions struct {
	list       []string
	checkpoint string
	minAge     time.Duration
	erase      eraseOptions
	format     *cli.Format
}

func takeInventory(cmd *cobra.Command, s cli.Streams, path string, o inventoryOptions) (err error) {
	for _, flag := range []string{"execute", "older-than", "enqueuer-dsn-file", "wait"} {
		if cmd.Flags().Changed(flag) {
			return cli.Usage("--%s belongs to --erase-orphans", flag)
		}
	}
	ctx := cmd.Context()
	for _, name := range o.list {
		if !slices.Contains(inventory.Classes(), inventory.Class(name)) {
			return cli.Usage("--list %.40q: expected one of %s", name, strings.Join(cli.Words(inventory.Classes()), ", "))
		}
	}
	if o.minAge < 0 {
		return cli.Usage("--min-age %v: expected 0 or more", o.minAge)
	}
	r, err := openToRead(ctx, s, path)
	if err != nil {
		return err
	}
	defer r.close()
	progress := cli.NewProgress(s)
	v := &inventory.Inventory{
		Bucket: r.objects, Database: r.store, Locations: r.purger.Locations, Eligible: r.purger.Policy.Eligible,
		Site:       r.cfg.LMS.Database,
		Checkpoint: o.checkpoint, MinAge: o.minAge, Now: time.Now,
	}
	v.Progress, v.Phase = showInventory(progress)
	figures := s.Out
	if len(o.list) > 0 {
		figures = s.Err
		v.Want = func(class inventory.Class) bool { return slices.Contains(o.list, string(class)) }
		var flush func() error
		v.List, flush = listDirectories(s.Out, *o.format)
		defer func() { err = errors.Join(err, flush()) }()
	}
	begun := time.Now()
	report, err := v.Run(ctx)
	progress.Clear()
	r.keepInventory(ctx, s, begun, report, err)
	switch {
	case errors.Is(err, inventory.ErrCheckpoint):
		return cli.Errorf(cli.ExitUsage, "%w", err)
	case err != nil && o.checkpoint != "":
		return cli.Unavailable(fmt.Errorf("%w; nothing can be said yet: repeat the command with --checkpoint %s to continue",
			err, o.checkpoint))
	case err != nil:
		return cli.Unavailable(fmt.Errorf("%w; nothing can be said", err))
	}
	doubts := doubts(report, r.softDeleting())
	if err := printInventory(figures, report, doubts, o); err != nil {
		return err
	}
	if len(doubts) > 0 {
		return cli.Errorf(cli.ExitNotDone, "it cannot be stated that no file of a retired user is left")
	}
	return nil
}

// keepInventory writes the result into the ledger, where the console shows it. A failure is only reported: the account
// may still have the rights of an earlier version, and the inventory does not depend on it.
func (r *reading) keepInventory(ctx context.Context, s cli.Streams, begun time.Time, report inventory.Report,
	failure error,
) {
	if errors.Is(failure, inventory.ErrCheckpoint) { // nothing was listed
		return
	}
	kept, started := inventory.Kept{Report: report, Names: report.Names}, report.Started
	if started.IsZero() {
		started = begun
	}
	run := mysql.Inventory{
		Started: started, Ended: time.Now(), Software: cli.Version(), Complete: failure == nil,
	}
	if failure != nil {
		kept.Failed = failure.Error()
	} else {
		kept.Doubts = doubts(report, r.softDeleting())
	}
	text, err := json.Marshal(kept)
	if err == nil {
		run.Report = text
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepLimit) // also of one that was interrupted
		defer cancel()
		err = r.store.AddInventory(ctx, run)
	}
	if err != nil {
		cli.Printf(s.Err, "the result is not kept in the ledger, so the console does not show it: %v\n", err)
	}
}

// keepLimit is how long writing the result may take.
const keepLimit = 10 * time.Second

// softDeleting returns the buckets that keep deleted objects restorable.
func (r *reading) softDeleting() []string {
	var names []string
	for _, settings := range r.objects.Settings() {
		if settings.SoftDelete > 0 {
			names = append(names, settings.Bucket)
		}
	}
	return names
}

// showInventory shows how far the listing is, and then the reading of the LMS.
func showInventory(progress *cli.Progress) (listing func(inventory.Progress), reading func(string, int64)) {
	begun := time.Now()
	listing = func(p inventory.Progress) {
		facts := []string{fmt.Sprintf("listed %s objects in %s directories", humanize.Comma(p.Objects),
			humanize.Comma(int64(p.Directories)))}
		if p.Part > 0.01 {
			left := time.Duration(float64(time.Since(begun)) * (1 - p.Part) / p.Part)
			facts = append(facts, left.Round(time.Second).String()+" left")
		}
		progress.Show(p.Part, facts...)
	}
	return listing, func(what string, rows int64) {
		progress.Show(-1, fmt.Sprintf("read %s rows of %s", humanize.Comma(rows), what))
	}
}

// listDirectories writes directories as CSV or as lines of JSON.
func listDirectories(w io.Writer, format cli.Format) (list func(inventory.Directory) error, flush func() error) {
	if format == "json" {
		return func(d inventory.Directory) error { return cli.PrintJSON(w, d) }, func() error { return nil }
	}
	out := cli.NewCSV(w, "class", "bucket", "directory", "objects", "bytes", "oldest", "newest")
	return func(d inventory.Directory) error {
		out.Row(d.Class, d.Bucket, d.Name, d.Objects, d.Bytes, d.Oldest, d.Newest)
		return out.Error()
	}, out.Flush
}

// doubts returns the reasons why it cannot be stated that no file of a retired user is left.
func doubts(r inventory.Report, softDeleting []string) []string {
	var all []string
	directories := func(class inventory.Class, why string) {
		if n := r.Sum(class).Directories; n > 0 {
			what := humanize.Comma(n) + " directories are " + string(class)
			if n == 1 {
				what = "1 directory is " + string(class)
			}
			all = append(all, what+": "+why)
		}
	}
	directories(inventory.Due, "their purges are to come, or have failed: see enqueuer coverage")
	directories(inventory.BackAgain, "they were erased before; find out what brings them back")
	directories(inventory.Orphan, "no row says whose files these are; review them: worker inventory --list orphan")
	directories(inventory.Young, "look again when they are older than --min-age")
	directories(inventory.Odd, "see worker inventory --list odd")
	if n := r.RetiringNotUnderstood; n > 0 {
		all = append(all, humanize.Comma(n)+" links of retiring users are not understood: their files may lie elsewhere")
	}
	if len(softDeleting) > 0 {
		all = append(all, "deleted objects can be restored for a while in "+strings.Join(softDeleting, ", ")+" (soft delete)")
	}
	return all
}

func printInventory(w io.Writer, r inventory.Report, doubts []string, o inventoryOptions) error {
	if *o.format == "json" {
		return cli.PrintJSON(w, struct {
			inventory.Report

			NoFileLeft bool     `json:"no_file_of_a_retired_user_left"`
			Doubts     []string `json:"doubts"`
		}{r, len(doubts) == 0, append([]string{}, doubts...)})
	}
	if *o.format == "csv" && len(o.list) == 0 {
		return inventoryCSV(w, r)
	}
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "DIRECTORIES\tOBJECTS\tSIZE\tOLDEST\tNEWEST\t  CLASS")
	for _, sum := range r.Sums {
		if sum.Class == inventory.Purged && sum.Directories == 0 {
			continue
		}
		oldest, newest := "-", "-"
		if sum.Oldest != nil {
			oldest, newest = sum.Oldest.Format(time.DateOnly), sum.Newest.Format(time.DateOnly)
		}
		cli.Printf(table, "%s\t%s\t%s\t%s\t%s\t  %s\n", humanize.Comma(sum.Directories), humanize.Comma(sum.Objects),
			humanize.IBytes(uint64(sum.Bytes)), oldest, newest, sum.Class) //nolint:gosec // a sum of sizes
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	cli.Printf(w, "\n%s rows of the LMS hold a link; %s of them are not understood, %s lead elsewhere\n",
		humanize.Comma(r.References), humanize.Comma(r.NotUnderstood), humanize.Comma(r.External))
	cli.Printf(w, "%s downloads and %s verification directories that they name hold nothing\n",
		humanize.Comma(r.MissingDownloads), humanize.Comma(r.MissingVerifications))
	if len(doubts) == 0 {
		fmt.Fprintln(w, "\nIt can be stated that no file of a retired user is left below these directories.")
		return nil
	}
	fmt.Fprintln(w, "\nIt cannot be stated that no file of a retired user is left below these directories:")
	for _, doubt := range doubts {
		cli.Printf(w, "  %s\n", doubt)
	}
	return nil
}

func inventoryCSV(w io.Writer, r inventory.Report) error {
	out := cli.NewCSV(w, "class", "directories", "objects", "bytes", "oldest", "newest")
	for _, sum := range r.Sums {
		out.Row(sum.Class, sum.Directories, sum.Objects, sum.Bytes, sum.Oldest, sum.Newest)
	}
	return out.Flush()
}
