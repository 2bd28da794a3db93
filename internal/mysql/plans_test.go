package mysql_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// planRows is how many rows each table has.
const planRows = 200_000

// fillLedger makes a ledger in the middle of a backfill: three quarters have ended, in the order of their ids.
func fillLedger(tb testing.TB, db *sandboxtest.Database) {
	tb.Helper()
	into := func(table, columns, values string) {
		tb.Helper()
		statement := "INSERT INTO " + db.Ledger + "." + table + " (" + columns + ") SELECT " + values + " FROM " +
			sandboxtest.Numbers(planRows) +
			" ORDER BY seq"
		if _, err := db.Root.ExecContext(tb.Context(), statement); err != nil {
			tb.Fatalf("filling %s: %v", table, err)
		}
	}
	const state = "CASE WHEN seq > 150020 THEN 'queued' WHEN seq > 150000 THEN 'running' WHEN seq % 100 = 50 " +
		"THEN 'failed'" +
		" WHEN seq % 100 = 51 THEN 'refused' ELSE 'done' END"
	const reason = "CASE WHEN seq > 150000 THEN '' WHEN seq % 100 = 51 THEN 'not_retiring' WHEN seq % 200 = 150 " +
		"THEN 'held'" +
		" WHEN seq % 200 = 50 THEN 'gave_up' ELSE '' END"
	into("requests", "idempotency_key, user_id, source, state, reason, ended_as, requested_at, opened_at, updated_at, "+
		"finished_at",
		"CONCAT('user:', seq), seq, 'backfill', "+state+", "+reason+", CONCAT("+state+", ':', "+reason+
			"), '2024-01-01', '2024-01-01', '2024-01-01',"+
			" IF(seq > 150000, NULL, '2024-01-01' + INTERVAL seq SECOND)")
	into("request_keys", "idempotency_key, request_id, created_at",
		"CONCAT('key:', seq), seq, '2024-01-01' + INTERVAL seq SECOND")
	into("request_bodies", "idempotency_key, fingerprint, created_at",
		"CONCAT('key:', seq), REPEAT('x', 32), '2024-01-01' + INTERVAL seq SECOND")
	into("evidence", "request_id, user_id, certificate_id, source_table, attempt, references_cleared, cleared_at",
		"seq, seq, seq, 'live', 1, 1, '2024-01-01' + INTERVAL seq DIV 7 SECOND")
	into("evidence_objects", "request_id, user_id, certificate_id, source_table, attempt, bucket, directory, name, "+
		"generation, size, outcome,"+
		" listed_at, settled_at, object_key",
		"seq, seq, seq, 'live', 1, 'certs', 'downloads/', CONCAT('downloads/', seq), 1, 1, 'erased', '2024-01-01', "+
			"'2024-01-01' + INTERVAL seq DIV 7 SECOND,"+
			" UNHEX(SHA2(CONCAT('certs', 0x00, 'downloads/', seq, 0x00, 1), 256))")
	into("evidence_documents", "request_id, number, user_id, attempt, part, at, hash, document",
		"1000000 + seq, 1, 1000000 + seq, 1, 'record', '2025-01-01' + INTERVAL seq DIV 7 SECOND, REPEAT('x', 32),"+
			` CONCAT('{"at":"2025-01-01T00:00:00Z","attempt":1,"directories":[{"bucket":"certs","generations":[{"generation":"1",`+
			`"name":"x","outcome":"erased","size":1}],"prefix":"downloads/","table":"live"}],"links":[{"certificate_id":7,`+
			`"cleared":1,"table":"live"}],"part":"record","request":{"id":', 1000000 + seq, ',"user_id":', 1000000 + seq,`+
			` '},"version":1}')`)
	into("notifications", "event_id, kind, request_id, happened_at, created_at, due_at, outcome, tries, body",
		"LEFT(SHA2(seq, 256), 26), 'request.ended', seq, '2024-01-01' + INTERVAL seq SECOND, '2024-01-01' + INTERVAL seq "+
			"SECOND, '2024-01-01' + INTERVAL seq SECOND, CASE WHEN seq > 150000 THEN '' WHEN seq % 100 = 50 THEN 'given_up' "+
			"ELSE 'delivered' END, seq % 3, '{}'")
	into("events", "request_id, at, kind", "seq, '2024-01-01' + INTERVAL seq SECOND, 'reopened'")
	into("directory_owners", "id, user_id", "UNHEX(LEFT(SHA2(seq, 256), 32)), seq")
	db.Exec(tb, "INSERT INTO "+db.Ledger+".notify_state (id, began_at, position, looked_at) VALUES (1, '2024-01-01', "+
		"'2024-01-01', '2024-01-01')")
	db.Exec(tb, "INSERT INTO "+db.Ledger+".owner_walks (source_table, position, again, walked_at) VALUES ('live', "+
		"200000, 0, UTC_TIMESTAMP(6)), ('history', 200000, 0, UTC_TIMESTAMP(6))")
}

// logged returns what the server was asked by do.
func logged(tb testing.TB, db *sandboxtest.Database, do func()) (statements []string) {
	tb.Helper()
	db.Exec(tb, "SET GLOBAL log_output = 'TABLE'")
	db.Exec(tb, "TRUNCATE mysql.general_log")
	db.Exec(tb, "SET GLOBAL general_log = 1")
	do()
	db.Exec(tb, "SET GLOBAL general_log = 0")
	rows, err := db.Root.QueryContext(tb.Context(), "SELECT COALESCE(CONVERT(argument USING utf8mb4), '') FROM "+
		"mysql.general_log WHERE command_type = 'Query'")
	if err != nil {
		tb.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			tb.Fatal(err)
		}
		for _, verb := range []string{"SELECT", "(SELECT", "UPDATE", "DELETE"} {
			if strings.HasPrefix(text, verb) {
				statements = append(statements, strings.Split(strings.TrimRight(text, "; \n"), ";\n")...)
			}
		}
	}
	if err := rows.Err(); err != nil {
		tb.Fatal(err)
	}
	return statements
}

// TestPlans calls what reads pages and what is asked again and again, counts the rows that the server reads for it, and
// asks the server how it does so: in a new ledger, and in one that still has the indexes of earlier versions.
func TestPlans(t *testing.T) { //nolint:tparallel // see below
	t.Parallel()
	f := newFixtureOn(t, sandboxtest.On(t, sandboxtest.OwnServers(t).MySQL, lms.UTF8MB4))
	populate(t, f.db, planRows)
	fillLedger(t, f.db)
	tables := []string{"requests", "request_keys", "request_bodies", "evidence", "evidence_objects", "evidence_documents", "directory_owners", "notifications"}
	f.exec("ANALYZE TABLE " + f.db.Ledger + "." + strings.Join(tables, ", "+f.db.Ledger+"."))
	f.checkPlans(t)
	f.exec("ALTER TABLE " + f.db.Ledger + ".requests ADD KEY requests_open (state, id)," +
		" ADD KEY requests_finished (state, finished_at), ADD KEY requests_opened (state, reason, opened_at)") // as 00001_ledger.sql has them
	f.exec("ANALYZE TABLE " + f.db.Ledger + ".requests")
	if names, err := f.enqueuer.SupersededIndexes(t.Context()); err != nil || len(names) != 3 {
		t.Fatalf("got the indexes %v, %v", names, err)
	}
	t.Run("with superseded indexes", f.checkPlans)
}

func (f *fixture) checkPlans(t *testing.T) { //nolint:thelper // a test of its own, run twice
	for name, c := range f.pagesAndPolls() {
		t.Run(name, func(t *testing.T) {
			before := f.db.RowsRead(t)
			if err := c.ask(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n, limit := f.db.RowsRead(t)-before, cmp.Or(c.reads, 2_000); n > limit {
				t.Errorf("it reads %d rows, want at most %d", n, limit)
			}
			statements := logged(t, f.db, func() { _ = c.ask(t.Context()) })
			if len(statements) == 0 {
				t.Error("it asks nothing")
			}
			for _, statement := range statements {
				for _, a := range f.db.Plan(t, f.db.Ledger, statement) {
					if a.Walks() && a.Rows > 1000 && !c.walks {
						t.Errorf("it walks through %s: %+v\n%s", a.Table, a, statement)
					}
				}
			}
		})
	}
}

// poll is something that is asked often, or of a large table page by page.
type poll struct {
	ask   func(context.Context) error
	reads int  // how many rows it may read; 2,000 if it is 0: what requesting the number reads itself is in it
	walks bool // it has to read all of an index
}

func (f *fixture) pagesAndPolls() map[string]poll {
	var users []purge.UserID
	var ids []purge.RequestID
	for i := range 100 {
		users, ids = append(users, purge.UserID(150_000+i)), append(ids, purge.RequestID(150_000+i))
	}
	now, then := time.Now(), time.Date(2024, 1, 1, 7, 0, 0, 0, time.UTC)
	open := func(after purge.UserID, untouched time.Time) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := f.OpenRequests(ctx, purge.OpenRequest{User: after}, untouched, 100)
			return err
		}
	}
	page := func(filter mysql.Filter, after purge.RequestID) poll {
		return poll{ask: func(ctx context.Context) error {
			rows, err := f.enqueuer.RequestsAfter(ctx, filter, after, 100)
			if err == nil && len(rows) == 0 {
				err = errors.New("there is no such request, so it proves nothing")
			}
			return err
		}}
	}
	evidence := func(filter mysql.EvidenceFilter, want int) func(context.Context) error {
		return func(ctx context.Context) error {
			seen := map[string]bool{}
			err := f.EachEvidence(ctx, filter, func(r mysql.EvidenceRecord) error {
				seen[fmt.Sprint(r.Kind, r.RequestID)] = true
				return nil
			})
			if err == nil && len(seen) != want {
				err = fmt.Errorf("got %d pieces of evidence, want %d", len(seen), want)
			}
			return err
		}
	}
	// What a page of the console reads at most: 20,000 rows that are looked at, and a chunk of each state.
	search := func(filter mysql.Search, reads int) poll {
		return poll{reads: reads, ask: func(ctx context.Context) error {
			hits, err := f.enqueuer.Search(ctx, filter, mysql.Position{}, mysql.Bounds{Page: 50, Count: 10_000, Check: 20_000})
			if err == nil && len(hits.Requests) == 0 && hits.Next == nil {
				err = errors.New("it finds nothing and goes on nowhere, so it proves nothing")
			}
			return err
		}}
	}
	now2025 := then.AddDate(1, 0, 0)
	failed, ended := []purge.State{purge.Failed}, []purge.State{purge.Failed, purge.Refused}
	return map[string]poll{
		"open requests":            {ask: open(0, now)},
		"open requests, further":   {ask: open(180_000, now)},
		"open requests, the last":  {ask: open(200_000, now)},
		"open requests, untouched": {ask: open(0, then.AddDate(-1, 0, 0)), reads: 60_000}, // those that are open

		"all requests":                  page(mysql.Filter{}, 100_000),
		"requests by id":                page(mysql.Filter{IDs: ids}, 0),
		"failed requests":               page(mysql.Filter{States: failed}, 100_000),
		"failed or refused":             page(mysql.Filter{States: ended}, 100_000),
		"queued or running":             page(mysql.Filter{States: []purge.State{purge.Queued, purge.Running}}, 0),
		"requests with a reason":        page(mysql.Filter{Reason: purge.ReasonHeld}, 0),
		"failed with a reason":          page(mysql.Filter{States: failed, Reason: purge.ReasonHeld}, 100_000),
		"failed, refused with a reason": page(mysql.Filter{States: ended, Reason: purge.ReasonNotRetiring}, 100_000),
		"failed before a date":          page(mysql.Filter{States: failed, EndedBefore: then}, 0),
		"requests of a user":            page(mysql.Filter{User: 149_950}, 0),
		"failed requests of a user":     page(mysql.Filter{User: 149_950, States: ended}, 0),
		"requests with a key":           page(mysql.Filter{Key: "key:150000"}, 0),

		"search: all":              search(mysql.Search{}, 13_000),
		"search: failed":           search(mysql.Search{State: purge.Failed}, 13_000),
		"search: failed, held":     search(mysql.Search{State: purge.Failed, Reason: purge.ReasonHeld}, 13_000),
		"search: held":             search(mysql.Search{Reason: purge.ReasonHeld}, 17_000),
		"search: a user":           search(mysql.Search{User: 149_950}, 2_000),
		"search: a key":            search(mysql.Search{Key: "key:150000"}, 2_000),
		"search: a period":         search(mysql.Search{EndedFrom: then, EndedTo: then.Add(time.Hour)}, 17_000),
		"search: failed of a day":  search(mysql.Search{State: purge.Failed, EndedFrom: then}, 13_000),
		"search: who asked":        search(mysql.Search{By: "alice"}, 23_000),
		"search: done by ticket":   search(mysql.Search{State: purge.Done, Ticket: "PRIV-7", Sources: []purge.Source{purge.SourceAPI}}, 65_000),
		"search: held of a period": search(mysql.Search{Reason: purge.ReasonHeld, EndedTo: then.Add(5 * time.Hour)}, 26_000),
		"detail": {ask: func(ctx context.Context) error {
			d, err := f.enqueuer.Detail(ctx, mysql.Request{ID: 1_150_000, UserID: 1_150_000})
			if err == nil && len(d.Evidence) != 2 {
				err = fmt.Errorf("got %+v, want an object and links", d.Evidence)
			}
			return err
		}},
		"glance at a user": {ask: func(ctx context.Context) error { _, err := f.GlanceUser(ctx, 150_000); return err }},
		"inventories":      {ask: func(ctx context.Context) error { _, err := f.Inventories(ctx, 20); return err }},

		"requests": {ask: func(ctx context.Context) error { _, err := f.Requests(ctx, ids); return err }},
		"progress": {ask: func(ctx context.Context) error { _, err := f.Progress(ctx); return err }},
		"ended of an hour": {ask: func(ctx context.Context) error {
			_, err := f.EndedSince(ctx, then.Add(-time.Hour), then, 5*time.Minute)
			return err
		}, reads: 2*3600 + 700}, // one a second, and the sums of them
		"unanchored":         {ask: func(ctx context.Context) error { _, err := f.UnanchoredSince(ctx); return err }},
		"operations":         {ask: func(ctx context.Context) error { _, err := f.Operations(ctx, 20); return err }},
		"oldest":             {ask: func(ctx context.Context) error { _, err := f.Oldest(ctx); return err }},
		"retained":           {ask: func(ctx context.Context) error { _, err := f.Retained(ctx); return err }},
		"recoverable":        {ask: func(ctx context.Context) error { _, err := f.Recoverable(ctx); return err }},
		"with open requests": {ask: func(ctx context.Context) error { _, err := f.WithOpenRequests(ctx, users); return err }},
		"tallies": {
			ask:   func(ctx context.Context) error { _, err := f.Tallies(ctx); return err },
			reads: planRows + 2_000, walks: true, // it counts them all
		},
		"changed evidence": {
			ask: func(ctx context.Context) error { _, err := f.ChangedEvidence(ctx, false); return err },
			// the latest 20,000 documents and their requests; the latest 100,000 rows: counted, divided into pages (twice
			// counted), compared
			reads: 3*20_000 + 4*planRows/2 + 5_000, walks: true,
		},
		// These read all of their tables, each row once.
		"references": {ask: func(ctx context.Context) error {
			return f.EachReference(ctx, func(purge.UserID, purge.Reference) error { return nil })
		}, reads: 2*planRows + 5_000, walks: true},
		"referenced": {ask: func(ctx context.Context) error {
			_, err := f.Referenced(ctx, []string{strings.Repeat("1", 32), strings.Repeat("2", 32)})
			return err
		}, reads: 2*planRows + 5_000, walks: true},
		"outcomes": {ask: func(ctx context.Context) error {
			return f.EachOutcome(ctx, func(purge.Directory, purge.Outcome, time.Time) error { return nil })
		}, reads: 2*planRows + 5_000, walks: true},
		"evidence of a user": {ask: evidence(mysql.EvidenceFilter{User: 150_000}, 2)},
		"evidence of a period": {
			ask:   evidence(mysql.EvidenceFilter{Since: then, Until: then.Add(10 * time.Minute)}, 2*7*600),
			reads: 7*7*600 + 2_000, // with the request of each line
		},
		"documents of a user": {ask: evidence(mysql.EvidenceFilter{User: 1_150_000}, 2)},
		"documents of a period": {
			ask:   evidence(mysql.EvidenceFilter{Since: now2025, Until: now2025.Add(10 * time.Minute)}, 2*7*600),
			reads: 8*7*600 + 2_000, // with the request of each document
		},
		"timeline": {ask: func(ctx context.Context) error {
			entries, err := f.enqueuer.Timeline(ctx, []mysql.Request{{ID: 1_150_000}, {ID: 150_000}})
			if err == nil && len(entries) < 4 {
				err = fmt.Errorf("got %+v, want an attempt and an event in it", entries)
			}
			return err
		}},
		"documents as they are": {ask: func(ctx context.Context) error {
			return f.enqueuer.EachDocument(ctx, 1_150_000, func(mysql.LedgerDocument) error { return nil })
		}},
		"audit": {ask: func(ctx context.Context) error {
			a, err := f.enqueuer.Audit(ctx, 150_000, nil)
			if err != nil || len(a.Requests) == 0 || len(a.Evidence) == 0 {
				return fmt.Errorf("got %+v, %w, want a request and its rows", a, err)
			}
			if a, err = f.enqueuer.Audit(ctx, 1_150_000, nil); err == nil && len(a.Documents) == 0 {
				err = fmt.Errorf("got %+v, want documents", a)
			}
			return err
		}},
		"requests of a ticket": {ask: func(ctx context.Context) error {
			return f.enqueuer.EachOfTicket(ctx, "PRIV-7", func([]mysql.Request) error { return nil })
		}, reads: 4*planRows + 5_000, walks: true}, // there is no index: each request and its events once
		"old keys": {ask: func(ctx context.Context) error {
			_, err := f.enqueuer.PruneKeys(ctx, then.AddDate(-1, 0, 0))
			return err
		}},

		"ends": {ask: func(ctx context.Context) error {
			ends, err := f.enqueuer.EndsAfter(ctx, mysql.End{FinishedAt: then}, 100)
			if err == nil && (len(ends) != 100 || !ends[0].Notified || ends[0].FinishedAt.Before(then)) {
				err = fmt.Errorf("got %+v, want a hundred that are told", ends)
			}
			return err
		}},
		"due notifications": {ask: func(ctx context.Context) error {
			due, err := f.enqueuer.DueNotifications(ctx, now, 8)
			if err == nil && len(due) != 8 {
				err = fmt.Errorf("got %d", len(due))
			}
			return err
		}},
		"figures of the notifications": {
			ask: func(ctx context.Context) error {
				_, _, err := f.enqueuer.NotifyFigures(ctx)
				return err
			},
			reads: planRows/4 + 5_000, walks: true, // it counts those that wait
		},
		"old notifications": {ask: func(ctx context.Context) error {
			early := then.AddDate(-1, 0, 0)
			_, err := f.enqueuer.GiveUpNotifications(ctx, early, now)
			_, errPrune := f.enqueuer.PruneNotifications(ctx, early, early)
			return errors.Join(err, errPrune)
		}},

		"retirees": {ask: func(ctx context.Context) error {
			_,
				err := f.enqueuer.Retirees(ctx, 100_000, 500)
			return err
		}},
		"last retiree":  {ask: func(ctx context.Context) error { _, err := f.enqueuer.LastRetiree(ctx); return err }},
		"standings":     {ask: func(ctx context.Context) error { _, err := f.enqueuer.Standings(ctx, users); return err }},
		"user":          {ask: func(ctx context.Context) error { _, err := f.User(ctx, 150_000); return err }},
		"users":         {ask: func(ctx context.Context) error { _, err := f.Users(ctx, users); return err }},
		"unknown users": {ask: func(ctx context.Context) error { _, err := f.UnknownUsers(ctx, users); return err }},
		"original name": {ask: func(ctx context.Context) error {
			_,
				err := f.enqueuer.OriginalName(ctx, 150_000)
			return err
		}},
		"user by name": {ask: func(ctx context.Context) error {
			_, err := f.enqueuer.UserByOriginalName(ctx, "u150000")
			return err
		}},
		"sharing": {ask: func(ctx context.Context) error {
			_, err := f.Sharing(ctx, 150_000, []string{strings.Repeat("1", 32), strings.Repeat("2", 32)})
			return err
		}},
		"new rows of the LMS": {
			// two pages
			ask: func(ctx context.Context) error { return f.WalkOwners(ctx, time.Hour, func(mysql.Walk) {}) }, reads: 4_000,
		},
		"check": {ask: func(ctx context.Context) error { return f.Check(ctx) }},
	}
}
