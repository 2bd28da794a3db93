package backfill_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/backfill"
	"github.com/certpurge/certpurge/internal/purge"
)

func backfillTime(date string) (time.Time, error) { return time.Parse(time.DateOnly, date) }

// retirees is an LMS with a ledger.
type retirees struct {
	all       []purge.Retiree
	standings map[purge.UserID]purge.Standing
	fail      error
}

func (r *retirees) Retirees(_ context.Context, after purge.UserID, limit int) ([]purge.Retiree, error) {
	var page []purge.Retiree
	for _, u := range r.all {
		if u.User > after && len(page) < limit {
			page = append(page, u)
		}
	}
	return page, r.fail
}

func (r *retirees) Standings(_ context.Context, users []purge.UserID) (map[purge.UserID]purge.Standing, error) {
	found := map[purge.UserID]purge.Standing{}
	for _, u := range users {
		if s, ok := r.standings[u]; ok {
			found[u] = s
		}
	}
	return found, nil
}

func (r *retirees) LastRetiree(context.Context) (purge.UserID, error) {
	return r.all[len(r.all)-1].User, nil
}

func TestRetiredYieldsTheEligibleWithReferences(t *testing.T) {
	t.Parallel()
	day := func(date string) time.Time { at, _ := backfillTime(date); return at }
	lms := &retirees{standings: map[purge.UserID]purge.Standing{}}
	for n := range 1300 {
		user := purge.UserID(2 * (n + 1))
		r := purge.Retiree{
			User: user, Retirement: purge.Retirement{UserExists: true, Requested: true, State: "COMPLETE"},
			Since: day("2024-06-01"),
		}
		standing := purge.Standing{Left: true}
		switch n {
		case 3:
			r.Retirement.State = "PENDING"
		case 4:
			r.Since = day("2024-01-01").Add(-time.Microsecond)
		case 5:
			r.Since = day("2024-01-01")
		case 6:
			r.Since = day("2025-01-01").Add(-time.Microsecond)
		case 7:
			r.Since = day("2025-01-01")
		case 8:
			standing = purge.Standing{Ended: purge.Done} // history rows alone, which keep their dead links
		case 9:
			standing = purge.Standing{} // history rows alone, never purged
		case 10:
			standing = purge.Standing{Left: true, Ended: purge.Failed}
		case 11:
			standing = purge.Standing{Left: true, Open: true}
		}
		lms.all = append(lms.all, r)
		if n != 12 {
			lms.standings[user] = standing
		}
	}
	s := &backfill.Retired{
		LMS: lms, Database: "openedx", Eligible: purge.Policy{ExcludedStates: []string{"PENDING"}}.Eligible,
		Since: day("2024-01-01"), Until: day("2025-01-01"),
	}
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	users, positions, err := items(t, s, 0)
	if err != nil || len(users) != 1300-5 || positions[0] != 2 || users[len(users)-1] != 2600 {
		t.Errorf("got %d users, %v", len(users), err)
	}
	for n, want := range map[int]bool{
		3: false, 4: false, 5: true, 6: true, 7: false, 8: false, 9: true, 10: true,
		11: true, 12: false,
	} {
		if got := slices.Contains(users, 2*(n+1)); got != want {
			t.Errorf("user %d: got %v, want %v", n, got, want)
		}
	}
	if want := (backfill.Passed{Requests: 1300, NotEligible: 1, OtherDates: 2, NoReference: 2}); s.Passed != want {
		t.Errorf("got %+v, want %+v", s.Passed, want)
	}
	if got := s.Share(1300); got != 0.5 {
		t.Errorf("got share %v", got)
	}
	if rest, _, err := items(t, s, 2590); err != nil || !slices.Equal(rest, []int{2592, 2594, 2596, 2598, 2600}) {
		t.Errorf("behind 2590: got %v, %v", rest, err)
	}
	lms.fail = errors.New("MySQL went away")
	if _, _, err := items(t, s, 0); !errors.Is(err, lms.fail) {
		t.Errorf("got %v", err)
	}
}
