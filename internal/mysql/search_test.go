package mysql_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

var searchDay = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// fillSearch makes n requests of all states and reasons, whose ends are not in the order of their ids.
func (f *fixture) fillSearch(n int) {
	f.t.Helper()
	const state = "ELT(1 + seq % 5, 'queued', 'running', 'done', 'refused', 'failed')"
	const reason = "IF(seq % 5 = 4, ELT(1 + seq % 3, 'held', 'gave_up', 'files_missing'), IF(seq % 5 = 3, " +
		"'not_retiring', ''))"
	f.exec("INSERT INTO " + f.db.Ledger + ".requests (idempotency_key, user_id, certificate_id, source, state, reason, " +
		"ended_as, requested_by, ticket, requested_at, opened_at, updated_at, finished_at) SELECT CONCAT('key:', seq), " +
		"1 + seq % 7, IF(seq % 5 < 2, seq, 0), ELT(1 + seq % 4, 'api', 'driver', 'backfill', 'cli'), " + state + ", " +
		reason + ", CONCAT(" + state + ", ':', " + reason + "), ELT(1 + seq % 3, 'cli, alice@ops', 'token portal, v1', " +
		"'100%_'), IF(seq % 11 = 0, 'PRIV-7', ''), '2026-01-01', '2026-01-01', '2026-01-01', IF(seq % 5 < 2, NULL, " +
		"'2026-03-01' + INTERVAL (seq * 37) % 1000 MINUTE) FROM " + sandboxtest.Numbers(n) + " ORDER BY seq")
}

// chosen says what a search should find, by the meaning of its fields.
func chosen(f mysql.Search, r mysql.Request) bool {
	ended := func(ok func(time.Time) bool) bool { return r.FinishedAt != nil && ok(*r.FinishedAt) }
	return (len(f.IDs) == 0 || slices.Contains(f.IDs, r.ID)) && (f.User == 0 || r.UserID == f.User) &&
		(f.State == "" || r.State == f.State) && (f.Reason == "" || r.Reason == f.Reason) &&
		(f.By == "" || strings.Contains(r.RequestedBy, f.By)) && (f.Ticket == "" || r.Ticket == f.Ticket) &&
		(len(f.Sources) == 0 || slices.Contains(f.Sources, r.Source)) &&
		(f.EndedFrom.IsZero() || ended(func(at time.Time) bool { return !at.Before(f.EndedFrom) })) &&
		(f.EndedTo.IsZero() || ended(func(at time.Time) bool { return at.Before(f.EndedTo) })) &&
		(f.Key == "" || r.IdempotencyKey == f.Key)
}

// TestSearchFindsWhatTheFilterSays pages through every combination of conditions and compares with all requests.
func TestSearchFindsWhatTheFilterSays(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	f.fillSearch(400)
	var all []mysql.Request
	err := f.enqueuer.EachRequest(t.Context(), mysql.Filter{}, func(page []mysql.Request) error {
		all = append(all, page...)
		return nil
	})
	if err != nil || len(all) != 400 {
		t.Fatalf("got %d requests, %v", len(all), err)
	}
	changes := []func(*mysql.Search){
		func(s *mysql.Search) { s.IDs = []purge.RequestID{all[4].ID, all[9].ID, all[17].ID, all[399].ID} },
		func(s *mysql.Search) { s.User = 3 },
		func(s *mysql.Search) { s.State = purge.Failed },
		func(s *mysql.Search) { s.Reason = purge.ReasonHeld },
		func(s *mysql.Search) { s.Sources = []purge.Source{purge.SourceAPI, purge.SourceCLI} },
		func(s *mysql.Search) { s.By = "alice" },
		func(s *mysql.Search) { s.Ticket = "PRIV-7" },
		func(s *mysql.Search) { s.EndedFrom = searchDay.Add(200 * time.Minute) },
		func(s *mysql.Search) { s.EndedTo = searchDay.Add(700 * time.Minute) },
		func(s *mysql.Search) { s.Key = "key:15" },
	}
	for bits := range 1 << len(changes) {
		var search mysql.Search
		for i, change := range changes {
			if bits>>i&1 == 1 {
				change(&search)
			}
		}
		want := map[purge.RequestID]bool{}
		for _, r := range all {
			if chosen(search, r) {
				want[r.ID] = true
			}
		}
		got, last := map[purge.RequestID]bool{}, mysql.Request{}
		byEnd := (!search.EndedFrom.IsZero() || !search.EndedTo.IsZero()) && search.User == 0 && search.IDs == nil &&
			search.Key == ""
		for after, pages := (mysql.Position{}), 0; ; pages++ {
			hits, err := f.enqueuer.Search(t.Context(), search, after, mysql.Bounds{Page: 7, Check: 60})
			if err != nil {
				t.Fatalf("%+v: %v", search, err)
			}
			for _, r := range hits.Requests {
				if got[r.ID] {
					t.Fatalf("%+v: request %d comes twice", search, r.ID)
				}
				if last.ID != 0 && (byEnd && r.FinishedAt.After(*last.FinishedAt) || !byEnd && r.ID > last.ID) {
					t.Fatalf("%+v: request %d is behind %d", search, r.ID, last.ID)
				}
				got[r.ID], last = true, r
			}
			if hits.Next == nil {
				break
			}
			if after = *hits.Next; pages > 400 {
				t.Fatalf("%+v: it does not end", search)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", search, diff)
		}
	}
}

func TestSearchCountsUpToItsBound(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	f.fillSearch(400)
	search := func(s mysql.Search, b mysql.Bounds) mysql.Hits {
		hits, err := f.enqueuer.Search(t.Context(), s, mysql.Position{}, b)
		if err != nil {
			t.Fatal(err)
		}
		return hits
	}
	whole := search(mysql.Search{State: purge.Failed}, mysql.Bounds{Page: 5, Count: 1_000, Check: 1_000})
	if len(whole.Requests) != 5 || !whole.Whole || whole.Checked != 80 || whole.Next == nil ||
		fmt.Sprint(whole.Counts) != "[{failed files_missing 26} {failed gave_up 27} {failed held 27}]" {
		t.Errorf("got %d requests, %+v", len(whole.Requests), whole)
	}
	cut := search(mysql.Search{State: purge.Failed}, mysql.Bounds{Page: 5, Count: 10, Check: 1_000})
	if n := cut.Counts[0].Count + cut.Counts[1].Count + cut.Counts[2].Count; n != 10 || cut.Whole {
		t.Errorf("got %+v", cut.Counts)
	}
	checked := search(mysql.Search{Ticket: "PRIV-7"}, mysql.Bounds{Page: 50, Count: 100, Check: 110})
	if checked.Checked != 110 || checked.Whole || len(checked.Requests) != 10 || checked.Next == nil ||
		checked.Next.ID != 291 {
		t.Errorf("got %d checked at, %d requests, next %+v", checked.Checked, len(checked.Requests), checked.Next)
	}
	end := search(mysql.Search{State: purge.Failed, Reason: purge.ReasonHeld}, mysql.Bounds{Page: 27})
	if len(end.Requests) != 27 || end.Next != nil || !end.Whole || end.Counts != nil {
		t.Errorf("a page that holds all has another one: %+v", end.Next)
	}
	for _, nothing := range []mysql.Search{{Key: "no such key"}, {State: purge.Queued, EndedFrom: searchDay}} {
		if none := search(nothing, mysql.Bounds{Page: 5}); !none.Whole || len(none.Requests) > 0 {
			t.Errorf("%+v: got %+v", nothing, none)
		}
	}
	var each int
	err := f.enqueuer.EachFound(t.Context(), mysql.Search{By: "100%_"}, func(rows []mysql.Request) error {
		each += len(rows)
		return nil
	})
	if err != nil || each != 133 { // a part of a text, and no pattern
		t.Errorf("got %d, %v", each, err)
	}
}
