package chaos

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/sandbox/demo/audit"
	"github.com/certpurge/certpurge/internal/sandbox/demo/dataset"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// watchedWorld is a small site under an observer, without any purge.
type watchedWorld struct {
	*observer

	t    *testing.T
	base string
}

func newWatchedWorld(t *testing.T) *watchedWorld {
	t.Helper()
	db := sandboxtest.MySQL(t, lms.Mixed)
	server := gcstest.New()
	base, stop, err := server.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	migrate(t, db)
	site := audit.Site{DB: db.Root, LMS: db.LMS, Ledger: db.Ledger, Server: server, Buckets: dataset.Buckets()}
	want, err := dataset.New(11, 2).Seed(t.Context(), site.DB, site.LMS, server, base)
	if err != nil {
		t.Fatal(err)
	}
	before, err := site.Take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o, err := newObserver(t.Context(), site, before, want, newBuckets(server), newTally(nil))
	if err != nil {
		t.Fatal(err)
	}
	return &watchedWorld{observer: o, t: t, base: base}
}

// migrate makes the ledger's tables.
func migrate(t *testing.T, db *sandboxtest.Database) {
	t.Helper()
	cfg := config.DefaultWorker().MySQL
	cfg.DSN = config.NewSecret(db.RootDSN(db.Ledger))
	store, err := mysql.Open(mysql.Config{MySQL: cfg, LMS: config.LMS{Database: db.LMS}})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestTheObserverCanFail tampers with the world in the ways that the observer is there for.
func TestTheObserverCanFail(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tamper func(w *watchedWorld)
		want   string // part of the violation; empty if there must be none
	}{
		"an untouched world": {tamper: func(*watchedWorld) {}},
		"files first, then references": {tamper: func(w *watchedWorld) {
			row := w.someRow(true)
			w.erase(row)
			w.clear(
				row)
		}},
		"files without references": {tamper: func(w *watchedWorld) { w.erase(w.someRow(true)) }},
		"a reference before its files": {
			tamper: func(w *watchedWorld) { w.clear(w.someRow(true)) },
			want:   "is cleared while",
		},
		"a reference before its files, in a renamed bucket": {
			tamper: func(w *watchedWorld) {
				w.clear(w.someRow(true))
				if err := w.buckets.rename(true); err != nil {
					w.t.Fatal(err)
				}
			},
			want: "is cleared while",
		},
		"a bystander's reference": {tamper: func(w *watchedWorld) { w.clear(w.someRow(false)) }, want: "is cleared while"},
		"a bystander's file":      {tamper: func(w *watchedWorld) { w.erase(w.someRow(false)) }, want: "is gone"},
		"one column of two": {
			tamper: func(w *watchedWorld) { w.exec("UPDATE %s SET download_uuid = '' WHERE %s = ?", w.someRow(true)) },
			want:   "its reference is still there",
		},
		"evidence that is written anew": {
			tamper: func(w *watchedWorld) {
				w.testify()
				w.run("UPDATE " + w.site.Ledger + ".evidence_documents SET document = '{}'")
			},
			want: "document 1 of the evidence was changed",
		},
		"evidence that is removed": {
			tamper: func(w *watchedWorld) {
				w.testify()
				w.run("DELETE FROM " + w.site.Ledger + ".evidence_documents")
			},
			want: "document 1 of the evidence is gone",
		},
		"another column": {
			tamper: func(w *watchedWorld) { w.exec("UPDATE %s SET verify_uuid = '' WHERE %s = ?", w.someRow(true)) },
			want:   "verify_uuid changed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWatchedWorld(t)
			c.tamper(w)
			if err := w.last(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := strings.Join(w.tally.violations, "\n")
			if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// testify writes a document of evidence, which the observer sees.
func (w *watchedWorld) testify() {
	w.t.Helper()
	w.run("INSERT INTO " + w.site.Ledger + ".evidence_documents (request_id, number, user_id, attempt, part, at, hash, " +
		"document) VALUES (1, 1, 1, 1, 'record', NOW(6), REPEAT('x', 32), '{\"version\": 1}')")
	if err := w.sweep(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *watchedWorld) run(statement string) {
	w.t.Helper()
	if _, err := w.site.DB.ExecContext(w.t.Context(), statement); err != nil {
		w.t.Fatal(err)
	}
}

// someRow is the first row whose reference fills both columns and has stored files, of a user to be purged or of a
// bystander.
func (w *watchedWorld) someRow(purged bool) dataset.Row {
	w.t.Helper()
	rows := slices.SortedFunc(maps.Keys(w.owners), func(a, b dataset.Row) int { return cmp.Compare(a.ID, b.ID) })
	for _, row := range rows {
		_, cleared := w.want.Cleared[row]
		_, kept := w.want.Kept[row]
		if row.Table == lms.Certificates && cleared == purged && !kept && len(w.stored(row)) > 1 && w.fillsBoth(row) {
			return row
		}
	}
	w.t.Fatal("there is no such row")
	return dataset.Row{}
}

func (w *watchedWorld) fillsBoth(row dataset.Row) bool {
	w.t.Helper()
	var both bool
	err := w.site.DB.QueryRowContext(w.t.Context(), fmt.Sprintf(
		"SELECT download_uuid <> '' AND download_url <> '' FROM %s.%s WHERE %s = ?", w.site.LMS, row.Table, keys[row.Table]),
		row.ID).Scan(&both)
	if err != nil {
		w.t.Fatal(err)
	}
	return both
}

func (w *watchedWorld) stored(row dataset.Row) []gcstest.Object {
	var all []gcstest.Object
	for _, d := range w.owners[row] {
		all = append(all, w.site.Server.Objects(d.bucket, d.prefix)...)
	}
	return all
}

func (w *watchedWorld) clear(row dataset.Row) {
	w.t.Helper()
	w.exec("UPDATE %s SET download_uuid = '', download_url = '' WHERE %s = ?", row)
}

// exec changes a row. The two places of the statement are for the table and its key.
func (w *watchedWorld) exec(statement string, row dataset.Row) {
	w.t.Helper()
	statement = strings.Replace(statement, "%s", w.site.LMS+"."+row.Table, 1)
	statement = strings.Replace(statement, "%s", keys[row.Table], 1)
	result, err := w.site.DB.ExecContext(w.t.Context(), statement, row.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	if n, err := result.RowsAffected(); n != 1 || err != nil {
		w.t.Fatalf("%s: got %d rows changed, %v, want 1", statement, n, err)
	}
}

// erase deletes the files of a row without the checks of a purge.
func (w *watchedWorld) erase(row dataset.Row) {
	w.t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, o := range w.stored(row) {
		target := w.base + "b/" + url.PathEscape(o.Bucket) + "/o/" + url.PathEscape(o.Name) + "?generation=" +
			strconv.FormatInt(o.Generation, 10)
		request, err := http.NewRequestWithContext(context.WithoutCancel(w.t.Context()), http.MethodDelete, target,
			http.NoBody)
		if err != nil {
			w.t.Fatal(err)
		}
		answer, err := client.Do(request)
		if err != nil {
			w.t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusNoContent {
			w.t.Fatalf("deleting %s: got %s", o.Name, answer.Status)
		}
	}
}
