package main

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/certpurge/certpurge/internal/backfill"
	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// list is an opened list of users.
type list struct {
	io.ReadCloser
	name string // for messages
	file bool   // can be read twice
}

// openList opens --users, so that a wrong name is found before the command connects to any server.
func (a *app) openList(name string) (*list, error) {
	if name == "-" {
		l := &list{ReadCloser: io.NopCloser(a.streams.In), name: "standard input"}
		if f, ok := a.streams.In.(*os.File); ok {
			info, err := f.Stat()
			l.ReadCloser, l.file = f, err == nil && info.Mode().IsRegular()
		}
		return l, nil
	}
	f, err := os.Open(name) //nolint:gosec // the operator names it
	if err != nil {
		return nil, cli.Usage("--users: %w; nothing was enqueued", err)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, errors.Join(cli.Usage("--users: %w; nothing was enqueued", err), f.Close())
	case info.IsDir():
		return nil, errors.Join(cli.Usage("--users: %s is a directory, expected a file; nothing was enqueued", name),
			f.Close())
	}
	return &list{ReadCloser: f, name: name, file: info.Mode().IsRegular()}, nil
}

// openSource makes the source that the flags choose. A file is checked whole.
func (o *backfillOptions) openSource(ctx context.Context, cfg config.Enqueuer, store *mysql.Store,
	users *list,
) (backfill.Source, error) {
	if o.retired {
		s := &backfill.Retired{
			LMS: store, Database: cfg.LMS.Database, Since: o.sinceTime, Until: o.untilTime,
			Eligible: cfg.LMS.Policy().Eligible,
		}
		return s, cli.Unavailable(s.Open(ctx))
	}
	if users == nil {
		return o.openCertificates(ctx, cfg, store)
	}
	s := &backfill.UserList{LMS: store, Database: cfg.LMS.Database, In: users}
	if !users.file {
		if o.checkpoint != "" {
			return nil, cli.Usage("--checkpoint needs a file: a pipe cannot be recognised again; nothing was enqueued")
		}
		return s, nil
	}
	s.In = users.ReadCloser
	err := s.Check(ctx)
	if errors.Is(err, backfill.ErrBadList) {
		return nil, cli.Usage("--users %s: %w; nothing was enqueued", users.name, err)
	}
	return s, cli.Unavailable(err)
}

// openCertificates makes the source of single certificates.
func (o *backfillOptions) openCertificates(ctx context.Context, cfg config.Enqueuer,
	store *mysql.Store,
) (backfill.Source, error) {
	from := "--certificate-ids"
	ids, err := backfill.ParseCertificates(o.certificates)
	if o.fromDatabase {
		from = "--args-from-database"
		ids, err = o.storedArguments(ctx, store)
	}
	s := &backfill.Certificates{LMS: store, Database: cfg.LMS.Database}
	if err == nil {
		err = s.Open(ctx, ids)
	}
	if errors.Is(err, backfill.ErrBadCertificates) || errors.Is(err, mysql.ErrNoArguments) {
		return nil, cli.Usage("%s: %w; nothing was enqueued", from, err)
	}
	return s, cli.Unavailable(err)
}

// storedArguments reads the LMS's table of arguments.
func (o *backfillOptions) storedArguments(ctx context.Context, store *mysql.Store) ([]purge.CertificateID, error) {
	text, err := store.CommandArguments(ctx)
	if err != nil {
		return nil, err
	}
	ids, dryRun, err := backfill.ParseArguments(text)
	if err == nil && dryRun && o.execute {
		return nil, cli.Usage("--args-from-database: the arguments in the database say --dry-run, so --execute is refused; " +
			"nothing was enqueued")
	}
	return ids, err
}

// badList returns the error of a list whose bad line was found after users had been submitted.
func badList(err error, users *list, sum backfill.Summary) error {
	if sum.Users == 0 {
		return cli.Usage("--users %s: %w; nothing was enqueued", users.name, err)
	}
	return cli.Errorf(cli.ExitFailure, "--users %s: %w; the %d users before it were requested",
		users.name, err, sum.Users)
}
