package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/certpurge/certpurge/internal/sandbox"
	"github.com/certpurge/certpurge/internal/sandbox/demo/audit"
	"github.com/certpurge/certpurge/internal/sandbox/demo/dataset"
)

// Options of Run.
type Options struct {
	Users    int       // ordinary retiring users; awkward ones come on top
	Keep     bool      // leave everything running after the report, until the context ends
	JSON     bool      // end Out with the report as one line of JSON; what people read goes to Err then
	Out, Err io.Writer // what people read goes to Out
	Terminal bool      // whether what people read is read on a terminal
	Enqueuer string    // path of the binary
	Worker   string    // path of the binary
	Seed     uint64    // the same seed makes the same site
}

// maxUsers keeps a slip of the fingers from filling the memory: at 100,000 users a demo takes some 4 GiB.
const maxUsers = 200_000

// Run plays the demo. When it returns, everything it started is stopped and removed, also if ctx ends in the middle;
// with Keep, the end of ctx after the report is the regular end. The error is ErrNotAsExpected, beside a report, if the
// check found something, and any other if the demo could not be played to its end.
func Run(ctx context.Context, o Options) (report Report, err error) {
	if o.Users < 1 || o.Users > maxUsers {
		return Report{}, fmt.Errorf("playing the demo with %d users: expected 1 to %s", o.Users, grouped(maxUsers))
	}
	for _, path := range []*string{&o.Enqueuer, &o.Worker} { // they run in another directory
		if *path, err = filepath.Abs(*path); err != nil {
			return Report{}, fmt.Errorf("finding the binaries: %w", err)
		}
	}
	d := &demo{Options: o, begun: time.Now(), people: o.Out}
	if o.JSON {
		d.people = o.Err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.prepare(ctx); err != nil {
		return Report{}, interrupted(ctx, err)
	}
	if report, err = d.play(ctx); err != nil {
		return Report{}, interrupted(ctx, err)
	}
	d.print(report)
	if o.JSON {
		line, err := report.line()
		if err != nil {
			return report, err
		}
		if _, err := io.WriteString(o.Out, line); err != nil {
			return report, fmt.Errorf("writing the report: %w", err)
		}
	}
	if o.Keep {
		if err := d.keep(ctx); err != nil {
			return report, err
		}
	}
	if !report.OK {
		return report, ErrNotAsExpected
	}
	return report, nil
}

// keep lets people look around until ctx ends, with a server to call beside the rest.
func (d *demo) keep(ctx context.Context) error {
	url, err := d.startServer(ctx)
	if err != nil {
		return interrupted(ctx, err)
	}
	if err := d.printKept(ctx, url); err != nil {
		return interrupted(ctx, err)
	}
	select {
	case <-ctx.Done():
		return nil
	case <-d.worker.Gone():
		return d.worker.Ended()
	case <-d.server.Gone():
		return d.server.Ended()
	}
}

// interrupted prefers the fact that the demo was interrupted to what failed because of it. Such an error is ctx's.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("playing the demo: %w", ctx.Err())
	}
	return err
}

// demo is one run.
type demo struct {
	Options

	begun  time.Time
	people io.Writer // where people read

	env    *Environment
	site   audit.Site
	data   *dataset.Dataset
	want   dataset.Expected
	before *audit.Snapshot
	worker *sandbox.Child
	server *sandbox.Child // only where the demo is kept
}

// prepare builds the world before the purge.
func (d *demo) prepare(ctx context.Context) error {
	d.printf("certpurge demo: %s retiring users, the awkward cases, and the users who must be left alone\n\n",
		grouped(d.Users))
	if err := sandbox.Install(ctx, d.people); err != nil {
		return err
	}
	engine, err := sandbox.ChosenEngine()
	if err != nil {
		return err
	}
	err = d.step(fmt.Sprintf("Starting a private %s, Redis and storage emulator", engine.Title()), func() (err error) {
		d.env, err = OpenEnvironment(ctx)
		return err
	})
	if err != nil {
		return err
	}
	d.site = audit.Site{
		DB: d.env.Root, LMS: LMSDatabase, Ledger: LedgerDatabase, Server: d.env.Storage,
		Buckets: dataset.Buckets(),
	}
	d.data = dataset.New(d.Seed, d.Users)
	figures := d.data.Figures()
	err = d.step(fmt.Sprintf("Seeding %s users, %s certificates, %s files",
		grouped(figures.Users), grouped(figures.Certificates), grouped(figures.Files)), func() (err error) {
		d.want, err = d.data.Seed(ctx, d.env.Root, LMSDatabase, d.env.Storage, d.env.StorageURL)
		return err
	})
	if err != nil {
		return err
	}
	return d.step("Migrating the ledger, taking a snapshot for the check", func() (err error) {
		if err := d.enqueuer(ctx, d.env.MigrateDSN, d.env.MigrateArguments()...); err != nil {
			return err
		}
		d.before, err = d.site.Take(ctx)
		return err
	})
}

// play runs the purge and the check.
func (d *demo) play(ctx context.Context) (Report, error) {
	var err error
	if d.worker, err = d.start("worker", d.Worker, d.env.WorkerDSN, nil, "--config", d.env.Path(WorkerFile)); err != nil {
		return Report{}, err
	}
	begun := time.Now()
	if err := d.purge(ctx); err != nil {
		return Report{}, err
	}
	purging := time.Since(begun)
	d.printf("%s%s\n", label(fmt.Sprintf("Purging %s users with the real enqueuer and worker", grouped(len(d.want.Ends)))),
		seconds(purging))
	if !d.Keep {
		if err := d.worker.Stop(); err != nil {
			return Report{}, err
		}
	}
	var findings audit.Findings
	err = d.step("Checking every row and every file", func() (err error) {
		findings, err = d.site.Check(ctx, d.before, d.want)
		return err
	})
	if err != nil {
		return Report{}, err
	}
	report := newReport(findings, d.Seed)
	report.took(purging, time.Since(d.begun))
	return report, nil
}

// close stops and removes everything.
func (d *demo) close() error {
	var err error
	for _, p := range []*sandbox.Child{d.server, d.worker} {
		if p != nil {
			err = errors.Join(err, p.Stop())
		}
	}
	if d.env != nil {
		d.env.Close()
	}
	return err
}
