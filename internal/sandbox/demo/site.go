package demo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/sandbox/demo/dataset"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
)

// SiteOptions of ServeSite. The DSNs are in go-sql-driver's form.
type SiteOptions struct {
	Users   int    // ordinary retiring users; awkward ones come on top
	Seed    uint64 // the same seed makes the same site
	Listen  string // address of the storage emulator
	RootDSN string // of an account that may do everything, without a database
	Log     *slog.Logger

	EnqueuerDSN, WorkerDSN, MigrateDSN string // of the accounts of configs/mysql/grants.sql, which are made
}

// ErrSiteExists is returned where the server has an LMS or a ledger already: they may be real ones, and if they are
// invented ones, the files were in the memory of a process that has ended.
var ErrSiteExists = errors.New("there is a database " + LMSDatabase + " or " + LedgerDatabase +
	" on this server already")

// ServeSite invents an Open edX site on a MySQL server, for operators who run the processes themselves: it makes the
// LMS's database and the accounts of configs/mysql/grants.sql, and is Cloud Storage until ctx ends, with the files in
// its memory. It serves no file before all of it is there.
func ServeSite(ctx context.Context, o SiteOptions) (err error) {
	if o.Users < 1 || o.Users > maxUsers {
		return fmt.Errorf("inventing a site with %d users: expected 1 to %s", o.Users, grouped(maxUsers))
	}
	root, err := openRoot(o.RootDSN)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	begun := time.Now()
	storage := gcstest.New()
	data, err := makeSite(ctx, root, storage, o)
	if err != nil {
		return err
	}
	url, stop, err := storage.StartOn(o.Listen) //nolint:contextcheck // it serves until it is stopped
	if err != nil {
		return err
	}
	defer stop()
	o.Log.InfoContext(ctx, "the site is there", slog.Int("users", data.Users), slog.Int("certificates", data.Certificates),
		slog.Int("files", data.Files),
		slog.Int64("took_ms", time.Since(begun).Milliseconds()), slog.String("storage", url))
	<-ctx.Done()
	return nil // stopped on request
}

func makeSite(ctx context.Context, root *sql.DB, storage *gcstest.Server, o SiteOptions) (dataset.Figures, error) {
	var databases int
	err := root.QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name IN (?, ?)",
		LMSDatabase, LedgerDatabase).Scan(&databases)
	if err != nil {
		return dataset.Figures{}, fmt.Errorf("looking for databases that are there: %w", err)
	}
	if databases > 0 {
		return dataset.Figures{}, ErrSiteExists
	}
	var accounts lms.Accounts
	for role, a := range map[string]struct {
		dsn     string
		account *lms.Account
	}{
		"enqueuer": {o.EnqueuerDSN, &accounts.Enqueuer}, "worker": {o.WorkerDSN, &accounts.Worker},
		"migrate": {o.MigrateDSN, &accounts.Migrate},
	} {
		if *a.account, err = accountOf(a.dsn, "certpurge_"+role); err != nil {
			return dataset.Figures{}, err
		}
	}
	if err := lms.CreateLMS(ctx, root, LMSDatabase, lms.Mixed); err != nil {
		return dataset.Figures{}, err
	}
	if err := lms.Grant(ctx, root, LMSDatabase, LedgerDatabase, accounts); err != nil {
		return dataset.Figures{}, err
	}
	back, stop, err := storage.Start() //nolint:contextcheck // only until the files are in it
	if err != nil {
		return dataset.Figures{}, err
	}
	defer stop()
	data := dataset.New(o.Seed, o.Users)
	figures := data.Figures()
	_, err = data.Seed(ctx, root, LMSDatabase, storage, back)
	return figures, err
}

// accountOf reads an account that grants.sql makes from its DSN.
func accountOf(dsn, user string) (account lms.Account, err error) {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return account, fmt.Errorf("reading the DSN of %s: %w", user, err)
	}
	if cfg.User != user || cfg.Passwd == "" || cfg.DBName != LedgerDatabase {
		return account, fmt.Errorf("reading the DSN of %s: expected %s:PASSWORD@…/%s", user, user, LedgerDatabase)
	}
	return lms.Account{Name: user, Host: "%", Password: cfg.Passwd}, nil
}
