package audit_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/gcs"
	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/demo/audit"
	"github.com/certpurge/certpurge/internal/sandbox/demo/dataset"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m)) }

// world is a small site with everything on it, before and after a purge by the real domain and its real adapters, but
// without the binaries and the queue.
type world struct {
	audit.Site

	t      *testing.T
	db     *sandboxtest.Database
	data   *dataset.Dataset
	want   dataset.Expected
	before *audit.Snapshot
	base   string
}

// ordinary is how many ordinary users a world has beside the awkward ones.
const ordinary = 2

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, db: sandboxtest.MySQL(t, lms.Mixed), data: dataset.New(7, ordinary)}
	server := gcstest.New()
	base, stop, err := server.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	w.base = base
	w.Site = audit.Site{DB: w.db.Root, LMS: w.db.LMS, Ledger: w.db.Ledger, Server: server, Buckets: dataset.Buckets()}
	if w.want, err = w.data.Seed(t.Context(), w.DB, w.LMS, server, base); err != nil {
		t.Fatal(err)
	}
	if w.before, err = w.Take(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

// purge makes one attempt for each user who is enqueued. wrap may put something between the purge and the store.
func (w *world) purge(wrap func(purge.Objects) purge.Objects) {
	w.t.Helper()
	locations, err := purge.NewLocations(dataset.Locations(), dataset.ExternalPrefixes()...)
	if err != nil {
		w.t.Fatal(err)
	}
	store, err := mysql.Open(mysql.Config{
		MySQL: config.MySQL{
			DSN: config.NewSecret(w.db.RootDSN(w.Ledger)), MaxOpenConnections: 8,
			ConnectTimeout: 10 * time.Second, QueryTimeout: 30 * time.Second,
		},
		LMS: config.LMS{Database: w.LMS, ClearHistory: true},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	defer store.Close()
	if _, err := store.Migrate(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	objects, err := gcs.Open(w.t.Context(), gcs.Config{
		GCS: config.GCS{
			CallTimeout: 30 * time.Second, MaxTries: 3, MaxInFlight: 32, AttributesMaxAge: time.Minute, Endpoint: w.base,
			Anonymous: true, AllowEmulator: true,
		},
		Locations: locations,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	defer objects.Close()
	purger := &purge.Purger{
		Users: store, Ledger: store, Objects: objects, Locations: locations,
		Policy: purge.Policy{ExcludedStates: []string{"PENDING", "ABORTED"}, ClearHistory: true, MaxAttempts: 1},
	}
	if wrap != nil {
		purger.Objects = wrap(objects)
	}
	var submissions []purge.Submission
	for _, id := range w.data.Enqueued() {
		submissions = append(submissions, purge.Submission{
			User: purge.UserID(id), Key: purge.DefaultKey(purge.UserID(id)),
			Source: purge.SourceCLI,
		})
	}
	accepted, err := store.Accept(w.t.Context(), submissions)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, a := range accepted {
		_, err := purger.Purge(w.t.Context(), purge.Task{Request: a.Request, User: a.User})
		if err != nil && purge.ClassOf(err) != purge.Retained {
			w.t.Fatal(err)
		}
	}
	last, err := store.LastDocument(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := store.AddAnchor(w.t.Context(), last); err != nil {
		w.t.Fatal(err)
	}
}

// check is Check.
func (w *world) check() audit.Findings {
	w.t.Helper()
	findings, err := w.Check(w.t.Context(), w.before, w.want)
	if err != nil {
		w.t.Fatal(err)
	}
	return findings
}

// exec changes the LMS as another program would. TABLE stands for the live table, HISTORY for the history table.
func (w *world) exec(statement string, args ...any) {
	w.t.Helper()
	statement = strings.NewReplacer("TABLE", w.LMS+"."+lms.Certificates, "HISTORY", w.LMS+"."+lms.History,
		"STATUS", w.LMS+"."+lms.RetirementStatus, "LEDGER", w.Ledger).Replace(statement)
	if n, err := w.db.Exec(w.t, statement, args...).RowsAffected(); n != 1 || err != nil {
		w.t.Fatalf("%s: got %d rows changed, %v, want 1", statement, n, err)
	}
}

// lazy is a store that does not delete one name, and does not show it afterwards either.
type lazy struct {
	purge.Objects

	generation dataset.Generation
	deleted    bool
}

func (l *lazy) List(ctx context.Context, dir purge.Directory) ([]purge.Generation, error) {
	found, err := l.Objects.List(ctx, dir)
	if l.deleted {
		for i, g := range found {
			if g.Name == l.generation.Name && g.Number == l.generation.Number {
				return append(found[:i:i], found[i+1:]...), err
			}
		}
	}
	return found, err
}

func (l *lazy) Delete(ctx context.Context, g purge.Generation) error {
	if g.Name == l.generation.Name && g.Number == l.generation.Number {
		l.deleted = true
		return nil
	}
	return l.Objects.Delete(ctx, g)
}
