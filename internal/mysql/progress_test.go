package mysql_test

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// put writes a request as it may stand in the ledger. Times are how long ago; zero is none.
func (f *fixture) put(state purge.State, reason purge.Reason, opened, finished, notBefore, recoverable time.Duration) {
	f.t.Helper()
	now := time.Now().UTC()
	at := func(ago time.Duration) any {
		if ago == 0 {
			return nil
		}
		return now.Add(-ago)
	}
	f.exec("INSERT INTO `"+f.db.Ledger+"`.requests (idempotency_key, user_id, source, state, reason, requested_at, "+
		"opened_at, finished_at, not_before, recoverable_until, updated_at, ended_as)"+
		" VALUES (UUID(), ?, 'cli', ?, ?, ?, ?, ?, ?, ?, ?, CONCAT(state, ':', reason))", accounts.Add(1), state, reason,
		at(opened), at(opened), at(finished), at(notBefore), at(recoverable), now)
}

// TestEndedSince counts at the borders of slots and of the time that is asked for.
func TestEndedSince(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	from := time.Now().UTC().Truncate(time.Hour).Add(-time.Hour)
	ended := func(state purge.State, after time.Duration) {
		f.put(state, purge.ReasonNone, 3*time.Hour, time.Hour, 0, 0)
		f.exec("UPDATE `"+f.db.Ledger+"`.requests SET finished_at = ? ORDER BY id DESC LIMIT 1", from.Add(after))
	}
	ended(purge.Done, -time.Microsecond)
	ended(purge.Done, 0)
	ended(purge.Done, 5*time.Minute-time.Microsecond)
	ended(purge.Done, 5*time.Minute)
	ended(purge.Failed, 5*time.Minute)
	ended(purge.Refused, time.Hour-time.Microsecond)
	ended(purge.Done, time.Hour)
	f.put(purge.Failed, purge.ReasonHeld, 3*time.Hour, time.Hour, 0, 0)
	f.exec("UPDATE `"+f.db.Ledger+"`.requests SET finished_at = ? ORDER BY id DESC LIMIT 1", from.Add(5*time.Minute))
	all, err := f.EndedSince(t.Context(), from, from.Add(time.Hour), 5*time.Minute)
	got := map[mysql.Ended]int64{}
	for _, e := range all {
		got[mysql.Ended{State: e.State, Slot: e.Slot}] += e.Count
	}
	want := map[mysql.Ended]int64{
		{State: purge.Done}: 2, {State: purge.Done, Slot: 1}: 1, {State: purge.Refused, Slot: 11}: 1,
		{State: purge.Failed, Slot: 1}: 2,
	}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestProgressOfALedger(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	empty, err := f.Progress(t.Context())
	if err != nil || empty != (mysql.Progress{}) {
		t.Errorf("an empty ledger: got %+v, %v", empty, err)
	}
	if oldest, err := f.Oldest(t.Context()); err != nil || len(oldest) != 0 {
		t.Errorf("an empty ledger: got %+v, %v", oldest, err)
	}
	if dates, err := f.Recoverable(t.Context()); err != nil || dates != (mysql.Dates{}) {
		t.Errorf("an empty ledger: got %+v, %v", dates, err)
	}
	for _, finished := range []time.Duration{5 * time.Minute, 30 * time.Minute, 2 * time.Hour} {
		f.put(purge.Done, "", 3*time.Hour, finished, 0, 0)
	}
	f.put(purge.Done, purge.ReasonNothingToPurge, 3*time.Hour, 10*time.Second, 0, 0)
	f.put(purge.Failed, purge.ReasonHeld, time.Hour, time.Minute, 0, 0)
	f.put(purge.Failed, purge.ReasonHeld, time.Hour, 3*time.Hour, 0, 0)
	f.put(purge.Queued, "", 2*time.Hour, 0, 0, 0)
	f.put(purge.Queued, "", 5*time.Hour, 0, 0, 0)
	f.put(purge.Running, "", 6*time.Hour, 0, 0, 0)
	f.put(purge.Queued, purge.ReasonRetained, 48*time.Hour, 0, -24*time.Hour, 0)
	f.put(purge.Queued, purge.ReasonSoftDeleted, 24*time.Hour, 0, -48*time.Hour, 0)
	f.put(purge.Queued, purge.ReasonTransient, 24*time.Hour, 0, -72*time.Hour, 0) // waits, but for no date
	f.put(purge.Done, "", 50*time.Hour, 49*time.Hour, 0, time.Hour)               // no longer restorable
	f.put(purge.Done, "", 50*time.Hour, 49*time.Hour, 0, -time.Hour)
	f.put(purge.Done, "", 50*time.Hour, 49*time.Hour, 0, -2*time.Hour)

	near := func(what string, got *time.Time, ago time.Duration) {
		t.Helper()
		if got == nil || time.Since(got.Add(ago)).Abs() > 30*time.Second {
			t.Errorf("%s: got %v, want %v ago", what, got, ago)
		}
	}
	p, err := f.Progress(t.Context())
	if err != nil || p.Minute != 1 || p.Ten != 2 || p.Hour != 3 || p.Failed != 1 {
		t.Errorf("got %+v, %v", p, err)
	}
	near("the last one done", p.LastDone, 10*time.Second)
	f.put(purge.Failed, "of_a_later_version", time.Hour, time.Minute, 0, 0)
	failed, err := f.RequestsAfter(t.Context(), mysql.Filter{States: []purge.State{purge.Failed}}, 0, 10)
	if err != nil || len(failed) != 3 || failed[2].Reason != "of_a_later_version" {
		t.Errorf("got %+v, %v; want also the one whose reason this version does not know", failed, err)
	}
	oldest, err := f.Oldest(t.Context())
	if err != nil || len(oldest) != 5 {
		t.Fatalf("got %+v, %v", oldest, err)
	}
	for _, o := range oldest {
		want := map[string]time.Duration{
			"queued ": 5 * time.Hour, "running ": 6 * time.Hour, "queued retained": 48 * time.Hour,
			"queued soft_deleted": 24 * time.Hour, "queued transient": 24 * time.Hour,
		}[fmt.Sprint(o.State, " ", o.Reason)]
		near(fmt.Sprint(o.State, " ", o.Reason), &o.OpenedAt, want)
	}
	retained, err := f.Retained(t.Context())
	if err != nil || retained.Count != 2 {
		t.Errorf("got %+v, %v", retained, err)
	}
	near("the first that is retained", retained.First, -24*time.Hour)
	near("the last that is retained", retained.Last, -48*time.Hour)
	restorable, err := f.Recoverable(t.Context())
	if err != nil || restorable.Count != 2 {
		t.Errorf("got %+v, %v", restorable, err)
	}
	near("the first that is restorable", restorable.First, -time.Hour)
	near("the last that is restorable", restorable.Last, -2*time.Hour)
}

// BenchmarkWatching asks what the overview asks, of a ledger of a million requests: half of them done, 1,000 within the
// hour.
func BenchmarkWatching(b *testing.B) {
	const requests = 1_000_000
	db := sandboxtest.MySQL(b, lms.UTF8MB4)
	store, err := mysql.Open(mysql.Config{
		MySQL: config.MySQL{
			DSN: config.NewSecret(db.RootDSN(db.Ledger)), ConnectTimeout: time.Second,
			QueryTimeout: time.Minute,
		},
		LMS: config.LMS{Database: db.LMS},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	if _, err := store.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	db.Exec(b, "INSERT INTO `"+db.Ledger+"`.requests (idempotency_key, user_id, source, state, reason, requested_at, "+
		"opened_at, finished_at, updated_at, ended_as)"+
		" SELECT CONCAT('user:', seq), seq, 'backfill', IF(seq % 2, 'done', IF(seq % 20, 'queued', 'failed')), IF(seq % "+
		"20, '', 'held'), n, n - INTERVAL seq SECOND,"+
		" IF(seq % 20 AND seq % 2 = 0, NULL, n - INTERVAL seq * 3.6 / 2 SECOND), n,"+
		" IF(seq % 2, 'done:', IF(seq % 20, 'queued:', 'failed:held')) FROM (SELECT seq, UTC_TIMESTAMP(6) AS n FROM "+
		sandboxtest.Numbers(requests)+") s")
	for name, ask := range map[string]func(context.Context) error{
		"Tallies":     func(ctx context.Context) error { _, err := store.Tallies(ctx); return err },
		"Progress":    func(ctx context.Context) error { _, err := store.Progress(ctx); return err },
		"Oldest":      func(ctx context.Context) error { _, err := store.Oldest(ctx); return err },
		"Retained":    func(ctx context.Context) error { _, err := store.Retained(ctx); return err },
		"Recoverable": func(ctx context.Context) error { _, err := store.Recoverable(ctx); return err },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := ask(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
