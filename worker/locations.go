package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/gcs"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/survey"
)

// maxSample bounds --sample: a larger sample would show nothing more.
const maxSample = 1_000

func newLocationsCommand(s cli.Streams, path *string) *cobra.Command {
	var out *cli.Format
	var o locationsOptions
	cmd := &cobra.Command{
		Use:   "locations",
		Short: "Group the links of the LMS by URL prefix; suggest locations",
		Long: `locations reads every link of the LMS, live and history, and groups them by
what precedes the directory of the certificate. For each group it shows how
many links and users there are, how many of the users are retiring, and which
setting takes the links: a location, external_prefixes, or none. Then it lists
the directories of a sample of each group, spread over all ids, and counts how
many of those that a purge expects hold objects, PDFs and verification files
apart. Directories that certpurge emptied before do not count.

The first lines say what is wrong, one line each: a wrong verify_dir,
downloads_dir or bucket, a site that never signed, links that no location
takes, rows with ids from which no file can be named.

--suggest prints the keys locations and external_prefixes as they would fit, as
YAML for the worker's file, with comments where a decision is left to you. It
searches for the sampled files in the buckets of the locations, in those that
links name (Amazon S3 and Cloud Storage, path-style and virtual host), and in
those of --bucket; there it lists the first level of directories. The
configuration needs no locations yet.

It changes nothing. The LMS is read in pages along the primary keys, without a
transaction. At most 1,000 groups are distinguished, each with its users in a
compressed bitmap; a million links take less than 64 MiB. Progress goes to
standard error.

` + cli.Exits{
			cli.ExitOK: "the locations fit", cli.ExitUsage: "",
			cli.ExitNotDone: "only rows are odd, and their users will fail; with --suggest:\n" +
				"something was left undecided",
			cli.ExitUnavailable: "", cli.ExitConfiguration: "a location is wrong or missing",
		}.String(),
		Example: "  worker locations\n  worker locations --suggest --bucket example-certificates > locations.yaml\n" +
			"  worker locations --sample 0 -o csv",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case o.sample < 0 || o.sample > maxSample:
				return cli.Usage("--sample: expected 0 to %d, is %d", maxSample, o.sample)
			case o.suggest && o.sample == 0:
				return cli.Usage("--suggest needs a sample: leave out --sample 0")
			case o.suggest && *out == "csv":
				return cli.Usage("--suggest is YAML: leave out -o csv")
			}
			for i, name := range o.buckets {
				if o.buckets[i] = strings.TrimSuffix(strings.TrimPrefix(name, "gs://"), "/"); !survey.ValidBucket(o.buckets[i]) {
					return cli.Usage("--bucket: %q is not the name of a bucket", name)
				}
			}
			o.out = *out
			return surveyLocations(cmd.Context(), s, *path, o)
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.sample, "sample", 20, "look for `NUMBER` certificates of each group in the bucket; 0 for none, then no "+
		"bucket is asked")
	f.BoolVar(&o.suggest, "suggest", false, "print locations and external_prefixes that would fit, as YAML")
	f.StringSliceVar(&o.buckets, "bucket", nil, "search this `BUCKET`, too; may be repeated")
	out = cli.FormatFlag(cmd, "text", "json", "csv")
	return cmd
}

type locationsOptions struct {
	sample  int
	suggest bool
	buckets []string
	out     cli.Format
}

func surveyLocations(ctx context.Context, s cli.Streams, path string, o locationsOptions) error {
	cfg, locations, err := loadForSurvey(path, s.Environ)
	if err != nil {
		return err
	}
	store, err := cli.OpenStore(cfg.MySQL, cfg.LMS)
	if err != nil {
		return err
	}
	defer store.Close()
	look := survey.Survey{
		Database: store, Locations: locations, Sample: o.sample, Buckets: o.buckets, Configured: cfg.Locations,
		External: cfg.ExternalPrefixes, Eligible: cfg.LMS.Policy().Eligible,
	}
	if o.sample > 0 {
		objects, err := gcs.Open(ctx, gcs.Config{GCS: cfg.GCS, Locations: locations, Environ: s.Environ})
		if err != nil {
			return fmt.Errorf("%w (--sample 0 reads the LMS only)", err)
		}
		defer objects.Close()
		look.Objects, look.Lister = objects, objects.Lister()
	}
	progress := cli.NewProgress(s)
	look.Progress = func(links int) { progress.Show(-1, "reading links: "+numbers.Sprint(links)) }
	report, err := look.Run(ctx)
	progress.Clear()
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if purge.ClassOf(err) == purge.Unavailable || purge.ClassOf(err) == purge.Transient {
			err = cli.Unavailable(err)
		}
		return err
	}
	if o.suggest {
		return printSuggestion(s.Out, o.out, report, look.Suggest(report))
	}
	if err := printReport(s.Out, o, report); err != nil {
		return err
	}
	return verdictOf(report)
}

// loadForSurvey is load for a configuration that may have no locations yet.
func loadForSurvey(path string, environ []string) (config.Worker, purge.Locations, error) {
	cfg, err := config.LoadWorkerWithoutLocations(path, environ)
	if err != nil || len(cfg.Locations) > 0 {
		if err == nil {
			return load(path, environ)
		}
		return cfg, purge.Locations{}, err
	}
	locations, _ := purge.NewLocations(nil, cfg.ExternalPrefixes...) // its one complaint is that there are none
	return cfg, locations, nil
}

// verdictOf is the error of what was found.
func verdictOf(r *survey.Report) error {
	wrong, odd := 0, 0
	for _, f := range r.Findings {
		switch f.Severity {
		case survey.Wrong:
			wrong++
		case survey.Odd:
			odd++
		case survey.Note:
		}
	}
	switch {
	case wrong > 0:
		return cli.Errorf(cli.ExitConfiguration,
			"the locations do not fit the links, in %s (worker locations --suggest prints some that would)",
			survey.Count(wrong, "point"))
	case odd > 0:
		return cli.Errorf(cli.ExitNotDone, "the locations fit, but not all rows can be understood")
	}
	return nil
}

func printSuggestion(w io.Writer, format cli.Format, r *survey.Report, suggestion survey.Suggestion) error {
	var yaml strings.Builder
	if err := suggestion.Write(&yaml); err != nil {
		return err
	}
	var err error
	if format == "json" {
		err = cli.PrintJSON(w, map[string]any{"report": r, "suggestion": yaml.String(), "undecided": suggestion.Undecided})
	} else {
		for _, f := range r.Findings {
			cli.Printf(w, "# %s: %s\n", string(f.Severity), f.Text)
		}
		_, err = io.WriteString(w, yaml.String())
	}
	if err != nil {
		return fmt.Errorf("writing the suggestion: %w", err)
	}
	if n := len(suggestion.Undecided); n > 0 {
		return cli.Errorf(cli.ExitNotDone, "left undecided, see the comments: %s", survey.Count(n, "point"))
	}
	return nil
}

func printReport(w io.Writer, o locationsOptions, r *survey.Report) error {
	switch o.out {
	case "json":
		return cli.PrintJSON(w, r)
	case "csv":
		return printGroups(w, r)
	}
	for _, f := range r.Findings {
		cli.Printf(w, "%s: %s\n", string(f.Severity), f.Text)
	}
	if len(r.Findings) > 0 {
		cli.Printf(w, "\n")
	}
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "LINKS\tUSERS\tRETIRING\tTAKEN BY\tPDF\tVERIFY\tLINKS BEGIN WITH")
	for _, g := range r.Groups {
		fmt.Fprintln(table, strings.Join([]string{
			numbers.Sprint(g.Links), numbers.Sprint(g.Users), numbers.Sprint(g.Retiring), cli.Escape(takenBy(g)),
			share(g, g.Downloads), share(g, g.Verification), cli.Escape(beginning(g)),
		}, "\t"))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	cli.Printf(w, "\n%s of %s; %s retiring.\n",
		survey.Count(r.Links, "link"), survey.Count(r.Users, "user"), numbers.Sprint(r.Retiring))
	if o.sample > 0 {
		cli.Printf(w, "PDF and VERIFY: directories that hold something, of those expected for %d certificates a group.\n",
			o.sample)
	}
	return nil
}

// numbers writes numbers with separators.
var numbers = message.NewPrinter(language.English)

// printGroups writes a line for each group; what is wrong is in the exit code only.
func printGroups(w io.Writer, r *survey.Report) error {
	lines := cli.NewCSV(w, "prefix", "taker", "location", "links", "users", "retiring", "downloads_expected",
		"downloads_found", "verification_expected", "verification_found", "odd_rows")
	for _, g := range r.Groups {
		odd := 0
		for _, o := range g.Odd {
			odd += o.Rows
		}
		lines.Row(g.Prefix, g.Taker, g.Location, g.Links, g.Users, g.Retiring, g.Downloads.Expected, g.Downloads.Found,
			g.Verification.Expected, g.Verification.Found, odd)
	}
	return lines.Flush()
}

func takenBy(g *survey.Group) string {
	switch g.Taker {
	case purge.TakenByLocation:
		return g.Location
	case purge.TakenByNone:
		return "NONE"
	default:
		return string(g.Taker)
	}
}

// beginning is how the links of a group begin, in words where they do not.
func beginning(g *survey.Group) string {
	switch {
	case g.More:
		return "(all others)"
	case g.Prefix != "":
		return g.Prefix
	case g.Taker == purge.TakenByAny:
		return "(no link, a download_uuid only)"
	default:
		return "(a text that is no link)"
	}
}

// share is what a sample found.
func share(g *survey.Group, t survey.Tally) string {
	switch {
	case g.Failure != "":
		return "?"
	case t.Expected == 0:
		return "-"
	default:
		return fmt.Sprintf("%d/%d", t.Found, t.Expected)
	}
}
