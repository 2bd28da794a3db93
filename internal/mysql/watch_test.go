package mysql_test

import (
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

func TestRetireesComeInPagesWithTheirStateAndTheMomentTheyAsked(t *testing.T) {
	t.Parallel()
	for name, charset := range map[string]lms.Charset{"utf8mb4": lms.UTF8MB4, "mixed": lms.Mixed} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, charset)
			asked, entered := time.Date(2024, 2, 29, 23, 59, 59, 999999000, time.UTC),
				time.Date(2024, 3, 1, 0, 0, 0, 1000, time.UTC)
			pending := f.NewUser(purge.Retirement{Requested: true, State: "PENDING"})
			f.NewUser(purge.Retirement{}) // wants nothing
			cleaned := f.NewUser(purge.Retirement{Requested: true})
			odd := f.NewUser(purge.Retirement{Requested: true, State: "COMPLETE"})
			f.exec("UPDATE "+f.db.LMS+"."+lms.RetirementRequest+" SET created = ?", asked)
			f.exec("UPDATE "+f.db.LMS+"."+lms.RetirementStatus+" SET created = ? WHERE user_id = ?", entered, pending)
			f.db.ExecUnchecked(t, "UPDATE "+f.db.LMS+"."+lms.RetirementStatus+
				" SET current_state_id = 999, created = ? WHERE user_id = ?", entered, odd)
			want := []purge.Retiree{
				{User: pending, Retirement: purge.Retirement{UserExists: true, Requested: true, State: "PENDING"}, Since: entered},
				{User: cleaned, Retirement: purge.Retirement{UserExists: true, Requested: true}, Since: asked},
				{
					User: odd, Retirement: purge.Retirement{UserExists: true, Requested: true, State: purge.StateUnknown},
					Since: entered,
				},
			}
			var got []purge.Retiree
			for after := purge.UserID(0); ; {
				page, err := f.enqueuer.Retirees(t.Context(), after, 2)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, page...)
				if len(page) < 2 {
					break
				}
				after = page[len(page)-1].User
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestEachRetireeReadsAllPages: three pages, and pages that end at the last user.
func TestEachRetireeReadsAllPages(t *testing.T) {
	t.Parallel()
	for _, n := range []int{2_000, 2_100} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, lms.UTF8MB4)
			populate(t, f.db, n)
			last, wrong := purge.UserID(0), errors.New("no more")
			err := f.EachRetiree(t.Context(), func(r purge.Retiree) error {
				if last++; r.User != last {
					t.Fatalf("got user %d, want %d", r.User, last)
				}
				return nil
			})
			if err != nil || last != purge.UserID(n) {
				t.Errorf("got %d users, %v", last, err)
			}
			calls := 0
			err = f.EachRetiree(t.Context(), func(purge.Retiree) error { calls++; return wrong })
			if !errors.Is(err, wrong) || calls != 1 {
				t.Errorf("got %d calls and %v, want one and the error of the caller", calls, err)
			}
		})
	}
}

func TestStandings(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.Mixed)
	keeping := f.open(f.dsn(), func(c *mysql.Config) { c.LMS.ClearHistory = false })
	user := func(tables ...purge.Table) purge.UserID {
		id := f.NewUser(purgetest.Retiring)
		for _, table := range tables {
			f.NewReference(id, table, idD, idV, "")
		}
		return id
	}
	begin := func(id purge.UserID, key string) purge.Attempt {
		t.Helper()
		accepted, err := f.Accept(t.Context(), []purge.Submission{{User: id, Key: key, Source: purge.SourceCLI}})
		if err != nil {
			t.Fatal(err)
		}
		attempt, err := f.Begin(t.Context(), purge.Task{Request: accepted[0].Request, User: id})
		if err != nil {
			t.Fatal(err)
		}
		return attempt
	}
	end := func(id purge.UserID, key string, state purge.State, reason purge.Reason) {
		t.Helper()
		if _, err := f.Record(t.Context(), begin(id, key), purge.Report{State: state, Reason: reason}); err != nil {
			t.Fatal(err)
		}
	}
	web, live, old := user(), user(purge.Live), user(purge.History)
	f.NewReference(web, purge.Live, "", idV, "")
	url := user()
	f.NewReference(url, purge.Live, "", "", "https://example.com/x")
	open, failed, both := user(purge.Live), user(purge.Live), user(purge.Live, purge.History)
	begin(open, "k1")
	end(failed, "k2", purge.Failed, purge.ReasonHeld)
	end(both, "k3", purge.Failed, purge.ReasonHeld)
	end(both, "k4", purge.Refused, purge.ReasonNotRetiring)
	back := user()
	end(back, "k5", purge.Done, purge.ReasonNone)
	f.NewReference(back, purge.Live, idD, idV, "") // out of a backup

	// Links of other services stay after a purge; only more than these are left.
	keep, more := user(), user()
	for _, id := range []purge.UserID{keep, more} {
		external := f.NewReference(id, purge.Live, "", "", "https://credentials.example.net/0f3c")
		report := purge.Report{State: purge.Done, Keep: []purge.Reference{external}}
		if got, err := f.Record(t.Context(), begin(id, fmt.Sprintf("keep%d", id)), report); err != nil ||
			got.State != purge.Done {
			t.Fatalf("got %+v, %v", got, err)
		}
	}
	f.NewReference(more, purge.Live, idD, idV, "")

	all := []purge.UserID{web, live, old, url, open, failed, both, back, keep, more, 999_999}
	for name, tc := range map[string]struct {
		store   *mysql.Store
		oldLeft bool
	}{"history is cleared": {f.Store, true}, "history is kept": {keeping, false}} {
		got, err := tc.store.Standings(t.Context(), all)
		if err != nil {
			t.Fatal(err)
		}
		want := map[purge.UserID]purge.Standing{
			live: {Left: true}, old: {Left: tc.oldLeft}, url: {Left: true}, open: {Left: true, Open: true},
			failed: {Left: true, Ended: purge.Failed}, both: {Left: true, Ended: purge.Refused},
			back: {Left: true, Ended: purge.Done},
			keep: {Ended: purge.Done}, more: {Left: true, Ended: purge.Done},
		}
		for id, standing := range got {
			if ended := !standing.EndedAt.IsZero(); ended != (standing.Ended != "") || ended &&
				time.Since(standing.EndedAt) > time.Hour {
				t.Errorf("%s: user %d ended at %v", name, id, standing.EndedAt)
			}
			standing.EndedAt = time.Time{}
			got[id] = standing
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if got, err := f.Standings(t.Context(), nil); err != nil || len(got) > 0 {
		t.Errorf("of no user: got %v, %v", got, err)
	}
}

func TestWatchPositionIsRememberedAndItsAgeIsTheServers(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	check := func(moment string, want purge.UserID, recent bool) {
		t.Helper()
		after, ended, err := f.enqueuer.WatchPosition(t.Context())
		if err != nil || after != want || (ended < time.Hour) != recent || ended < 0 {
			t.Errorf("%s: got %d, %v ago, %v; want %d, recent %v", moment, after, ended, err, want, recent)
		}
	}
	save := func(after purge.UserID, ended bool) {
		t.Helper()
		if err := f.enqueuer.SaveWatchPosition(t.Context(), after, ended); err != nil {
			t.Fatal(err)
		}
	}
	check("at the start", 0, false)
	save(7, false)
	check("in the middle of the first round", 7, false)
	save(9, true)
	check("after a round", 9, true)
	save(11, false)
	check("in the middle of the second", 11, true)
	f.exec("UPDATE " + f.db.Ledger + ".watch_position SET ended_at = UTC_TIMESTAMP() - INTERVAL 2 HOUR")
	check("two hours later", 11, false)
	f.exec("UPDATE " + f.db.Ledger + ".watch_position SET ended_at = UTC_TIMESTAMP() + INTERVAL 2 HOUR")
	check("after the clock was set back", 11, false)
}

func TestTheLeadingWatcherMakesRoomWhenItDies(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	other := f.open(f.dsn())
	lead := func(store *mysql.Store, want bool) func() {
		t.Helper()
		release, leading, err := store.LeadWatch(t.Context())
		if err != nil || leading != want {
			t.Fatalf("got %v, %v; want %v", leading, err, want)
		}
		return release
	}
	release := lead(f.Store, true)
	lead(other, false)
	reconciling, leading, err := other.Lead(t.Context())
	if err != nil || !leading {
		t.Fatalf("a watcher keeps the reconciler from leading: %v", err)
	}
	reconciling()
	release()
	release = lead(other, true)
	lock := fmt.Sprintf("certpurge_watch:%.40s", f.db.Ledger)
	var connection int64
	if err := f.db.Root.QueryRowContext(t.Context(), "SELECT IS_USED_LOCK(?)", lock).Scan(&connection); err != nil {
		t.Fatal(err)
	}
	f.exec(fmt.Sprintf("KILL %d", connection)) // as when the process dies
	var next func()
	sandboxtest.Eventually(t, "the other may lead", func() bool {
		got, leading, err := f.enqueuer.LeadWatch(t.Context())
		next = got
		return err == nil && leading
	})
	release() // of a lead that was lost: it must not end the other's
	lead(other, false)
	next()
	lead(other, true)()
}

func TestCheckIntakeNeedsNoRightToClear(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	user, password := f.db.AddAccount(t)
	account := "'" + user + "'@'%'"
	f.exec("GRANT SELECT ON " + f.db.LMS + ".* TO " + account)
	f.exec("GRANT SELECT, INSERT, UPDATE ON " + f.db.Ledger + ".* TO " + account)
	reading := f.open(f.db.DSN(user, password, f.db.Ledger))
	if err := reading.CheckIntake(t.Context()); err != nil {
		t.Errorf("got %v", err)
	}
	if err := reading.Check(t.Context()); purge.ClassOf(err) != purge.Misconfigured {
		t.Errorf("the worker's check: got %v", err)
	}
	if err := f.enqueuer.CheckIntake(t.Context()); err != nil {
		t.Errorf("with the rights of grants.sql: got %v", err)
	}
	f.exec("REVOKE SELECT ON " + f.db.LMS + ".* FROM " + account)
	if err := f.open(f.db.DSN(user, password, f.db.Ledger)).CheckIntake(t.Context()); purge.ClassOf(
		err) != purge.Misconfigured {
		t.Errorf("without a right: got %v", err)
	}
}
