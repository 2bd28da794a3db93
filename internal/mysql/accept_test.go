package mysql_test

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
)

// submissionsOf makes a submission for each of the users first to last.
func submissionsOf(first, last purge.UserID) []purge.Submission {
	var submissions []purge.Submission
	for user := first; user <= last; user++ {
		submissions = append(submissions, purge.Submission{
			User: user, Key: purge.DefaultKey(user),
			Source: purge.SourceBackfill,
		})
	}
	return submissions
}

// TestManyAcceptTheSameAtOnce: with their keys in different orders, INSERTs of the same keys dead-lock each other.
func TestManyAcceptTheSameAtOnce(t *testing.T) {
	t.Parallel()
	const callers, users = 8, 1203
	f := newFixture(t, lms.UTF8MB4)
	answers := make([][]purge.Accepted, callers)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for n := range callers {
		wg.Go(func() {
			mine := submissionsOf(1, users)
			rand.Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] }) //nolint:gosec // any order will do
			<-start
			var err error
			if answers[n], err = f.Accept(t.Context(), mine); err != nil {
				t.Errorf("accepting: %v", err)
			}
		})
	}
	close(start)
	wg.Wait()
	fresh, requests := map[purge.RequestID]int{}, map[purge.UserID]purge.RequestID{}
	for _, some := range answers {
		for _, a := range some {
			if a.Found == purge.FoundNew {
				fresh[a.Request]++
			} else if a.Found != "queued" {
				t.Errorf("got %+v, want it new or queued", a)
			}
			if before, ok := requests[a.User]; ok && before != a.Request {
				t.Errorf("user %d: got requests %d and %d", a.User, before, a.Request)
			}
			requests[a.User] = a.Request
		}
	}
	if len(requests) != users || len(fresh) != users {
		t.Errorf("got %d requests, of which %d were reported as new; want %d", len(requests), len(fresh), users)
	}
	for id, times := range fresh {
		if times != 1 {
			t.Errorf("request %d was found new by %d callers", id, times)
		}
	}
}

// TestAcceptTakesTwoRoundTrips, and one where nothing is new.
func TestAcceptTakesTwoRoundTrips(t *testing.T) {
	t.Parallel()
	var writes atomic.Int64
	f := newFixture(t, lms.UTF8MB4, func(c *mysql.Config) {
		c.MaxOpenConnections = 1
		c.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			return countingConn{conn, &writes}, err
		}
	})
	if err := f.enqueuer.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	var last purge.RequestID
	for name, submissions := range map[string][]purge.Submission{
		"one":     submissionsOf(1, 1),
		"a batch": submissionsOf(1001, 1500),
	} {
		before := writes.Load()
		accepted, err := f.Accept(t.Context(), submissions)
		if err != nil {
			t.Fatal(err)
		}
		if got := writes.Load() - before; got > 2 {
			t.Errorf("%s, new: got %d round trips, want 2", name, got)
		}
		for i, a := range accepted {
			if want := accepted[0].Request + purge.RequestID(i); a.Found != purge.FoundNew || a.Request != want ||
				a.Request <= last {
				t.Fatalf("%s, submission %d: got %+v, want a new request %d", name, i, a, want)
			}
		}
		last = accepted[len(accepted)-1].Request
		before = writes.Load()
		if accepted, err = f.Accept(t.Context(), submissions); err != nil || accepted[0].Found != "queued" {
			t.Fatalf("%s, again: got %+v, %v", name, accepted[0], err)
		}
		if got := writes.Load() - before; got > 1 {
			t.Errorf("%s, again: got %d round trips, want 1", name, got)
		}
	}
}

// TestAcceptingAgainUsesUpNoIDs: an INSERT that changes nothing would, and the ids of requests would leap.
func TestAcceptingAgainUsesUpNoIDs(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	last := purge.RequestID(0)
	for user := purge.UserID(10); user <= 100; user += 10 {
		accepted, err := f.Accept(t.Context(), submissionsOf(1, user)) // most of them known
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range accepted {
			if a.Request > last+1 {
				t.Errorf("user %d: got request %d after %d", a.User, a.Request, last)
			}
			last = max(last, a.Request)
		}
	}
}

// TestIDsThatDoNotFollowEachOther, as on a cluster whose servers share the numbers out.
func TestIDsThatDoNotFollowEachOther(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	if _, err := f.Accept(t.Context(), submissionsOf(1, 50)); err != nil {
		t.Fatal(err)
	}
	f.exec("CREATE TRIGGER " + f.db.Ledger + ".scatter BEFORE INSERT ON " + f.db.Ledger +
		".requests FOR EACH ROW SET NEW.id = UUID_SHORT()")
	accepted, err := f.Accept(t.Context(), submissionsOf(1, 100))
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range accepted {
		found := purge.FoundNew
		if i < 50 {
			found = "queued"
		}
		row := must(f.Requests(t.Context(), []purge.RequestID{a.Request}))
		if a.Found != found || len(row) != 1 || row[0].UserID != a.User {
			t.Errorf("got %+v for the row %+v, want it %s", a, row, found)
		}
	}
}

// TestOpeningAgainLeavesOneOpen opens two ended requests of one user, and one whose scope has an open request.
func TestOpeningAgainLeavesOneOpen(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	user, other := f.NewUser(purge.Retirement{}), f.NewUser(purge.Retirement{})
	var ids []purge.RequestID
	for _, w := range []purge.Submission{
		{User: user, Key: "a"},
		{User: user, Key: "b"},
		{User: other, Key: "c", By: "token portal"},
	} {
		a := must(f.Accept(t.Context(), []purge.Submission{w}))[0]
		attempt := must(f.Begin(t.Context(), purge.Task{Request: a.Request, User: a.User}))
		must(f.Record(t.Context(), attempt, purge.Report{State: purge.Failed, Reason: purge.ReasonHeld}))
		ids = append(ids, a.Request)
	}
	by := purge.Reopening{By: "cli, alice@ops", AcceptMissing: "alice@ops", AcceptShared: "bob@ops"}
	n, err := f.Reopen(t.Context(), ids, by)
	rows := must(f.Requests(t.Context(), ids))
	if err != nil || n != 2 || rows[0].State != purge.Queued || rows[1].State != purge.Failed ||
		rows[2].State != purge.Queued {
		t.Errorf("got %d opened, %v: %+v; want the first of each user", n, err, rows)
	}
	if got := rows[2]; got.RequestedBy != "token portal" || got.ReopenedBy != by.By ||
		got.AcceptMissingBy != by.AcceptMissing ||
		got.AcceptSharedBy != by.AcceptShared || rows[1].ReopenedBy != "" {
		t.Errorf("who asked, and who opened it again: got %+v", got)
	}
	if n, err := f.Reopen(t.Context(), ids, by); n != 0 || err != nil {
		t.Errorf("once more: got %d opened, %v; want none", n, err)
	}
}
