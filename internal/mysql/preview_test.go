package mysql_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
)

func TestUsersAreReadTogetherAsOneByOne(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.Mixed)
	if last, err := f.LastRetiree(t.Context()); err != nil || last != 0 {
		t.Errorf("no user: got %d, %v", last, err)
	}
	ids := []purge.UserID{
		f.NewUser(purge.Retirement{UserExists: true}), f.NewUser(purgetest.Retiring),
		f.NewUser(purge.Retirement{Requested: true, State: "PENDING"}),
		f.NewUser(purge.Retirement{Requested: true}), 999_999,
	}
	for _, id := range ids[:3] {
		for range 2 {
			f.NewReference(id, purge.History, idD, idV, "")
			f.NewReference(id, purge.Live, "", "", "https://example.com/x")
		}
	}
	want := map[purge.UserID]purge.User{}
	for _, id := range ids[:4] {
		user, err := f.User(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		want[id] = user
	}
	got, err := f.Users(t.Context(), ids)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("got %v (-want +got):\n%s", err, diff)
	}
	if got, err := f.Users(t.Context(), nil); err != nil || len(got) > 0 {
		t.Errorf("of no user: got %v, %v", got, err)
	}
	if last, err := f.LastRetiree(t.Context()); err != nil || last != ids[3] {
		t.Errorf("got %d, %v; want %d", last, err, ids[3])
	}
}

// TestForeseeSaysWhatAcceptWouldAnswer asks before each Accept, in every state that a request can be in.
func TestForeseeSaysWhatAcceptWouldAnswer(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	user := f.NewUser(purgetest.Retiring)
	submissions := []purge.Submission{{User: user, Key: purge.DefaultKey(user), Source: purge.SourceCLI}}
	check := func(moment string, open bool) {
		t.Helper()
		before := f.db.DumpTable(t, f.db.Ledger+".requests")
		previewed, err := f.enqueuer.Preview(t.Context(), submissions)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, f.db.DumpTable(t, f.db.Ledger+".requests")); diff != "" {
			t.Errorf("%s: a preview changed something:\n%s", moment, diff)
		}
		accepted, err := f.Accept(t.Context(), submissions)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := previewed[0], accepted[0]; got.User != want.User || got.Found != want.Found ||
			got.Open != want.Open ||
			got.Open != open {
			t.Errorf("%s: previewed %+v, accepted %+v", moment, got, want)
		}
	}
	end := func(state purge.State) {
		t.Helper()
		accepted, err := f.Accept(t.Context(), submissions)
		if err != nil {
			t.Fatal(err)
		}
		attempt, err := f.Begin(t.Context(), purge.Task{Request: accepted[0].Request, User: user})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Record(t.Context(), attempt, purge.Report{State: state}); err != nil {
			t.Fatal(err)
		}
	}
	check("new", true)
	check("queued", true)
	for _, state := range []purge.State{purge.Refused, purge.Failed, purge.Done} {
		end(state)
		check(string(state), state != purge.Done)
	}
	f.NewReference(user, purge.Live, idD, idV, "")
	check("done, references are back", true)
}
