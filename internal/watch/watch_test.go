package watch_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
	"github.com/certpurge/certpurge/internal/watch"
)

// site is an LMS, a ledger and a queue in one.
type site struct {
	retirees  map[purge.UserID]purge.Retiree
	standings map[purge.UserID]purge.Standing // of users with references
	waiting   int
	mu        sync.Mutex
	led       bool // the leader alone touches the rest
	after     purge.UserID
	endedAt   time.Time
	asked     []purge.UserID
	read      []purge.UserID // the first user of each page
	fail      error          // of the next Accept, after it has accepted
	meanwhile func()         // within Accept
}

func newSite(users int) *site {
	s := &site{retirees: map[purge.UserID]purge.Retiree{}, standings: map[purge.UserID]purge.Standing{}}
	for n := range users {
		id := purge.UserID(n + 1)
		s.retirees[id] = purge.Retiree{User: id, Retirement: purge.Retirement{
			UserExists: true, Requested: true,
			State: "COMPLETE",
		}, Since: time.Now().Add(-240 * time.Hour)}
		s.standings[id] = purge.Standing{Left: true}
	}
	return s
}

func (s *site) watcher() *watch.Watcher {
	return &watch.Watcher{
		Ledger: s, Intake: s, Waiting: func(context.Context) (int, error) { return s.waiting, nil },
		Eligible: purge.Policy{ExcludedStates: []string{"PENDING"}}.Eligible,
		Watch: config.Watch{
			Interval: 10 * time.Minute, CoolOffDays: 7, MaxUsersPerRound: 100_000, HighWater: 100_000, AskAgainAfter: time.Hour,
		},
		Now: time.Now,
	}
}

func (s *site) LeadWatch(context.Context) (func(), bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.led {
		return nil, false, nil
	}
	s.led = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.led = false
	}, true, nil
}

func (s *site) WatchPosition(context.Context) (purge.UserID, time.Duration, error) {
	if s.endedAt.IsZero() {
		return s.after, math.MaxInt64, nil
	}
	return s.after, time.Since(s.endedAt), nil
}

func (s *site) SaveWatchPosition(ctx context.Context, after purge.UserID, ended bool) error {
	s.after = after
	if ended {
		s.endedAt = time.Now()
	}
	return ctx.Err()
}

func (s *site) Retirees(_ context.Context, after purge.UserID, limit int) ([]purge.Retiree, error) {
	var page []purge.Retiree
	for _, id := range slices.Sorted(maps.Keys(s.retirees)) {
		if id > after && len(page) < limit {
			page = append(page, s.retirees[id])
		}
	}
	if len(page) > 0 {
		s.read = append(s.read, page[0].User)
	}
	return page, nil
}

func (s *site) Standings(_ context.Context, users []purge.UserID) (map[purge.UserID]purge.Standing, error) {
	found := map[purge.UserID]purge.Standing{}
	for _, u := range users {
		if standing, ok := s.standings[u]; ok {
			found[u] = standing
		}
	}
	return found, nil
}

func (s *site) Accept(ctx context.Context, submissions []purge.Submission) ([]purge.Accepted, error) {
	var accepted []purge.Accepted
	for _, submission := range submissions {
		standing, found := s.standings[submission.User], purge.FoundNew
		if standing.Ended != "" {
			found = purge.Found(standing.Ended)
		}
		if submission.Source != purge.SourceWatch || submission.Key != purge.DefaultKey(submission.User) {
			return nil, errors.New("not a submission of the watcher's")
		}
		standing.Open = true
		s.standings[submission.User] = standing
		s.asked = append(s.asked, submission.User)
		s.waiting++
		accepted = append(accepted, purge.Accepted{User: submission.User, Found: found, Open: true})
	}
	if s.meanwhile != nil {
		s.meanwhile()
	}
	fail := s.fail
	s.fail = nil
	return accepted, errors.Join(fail, ctx.Err())
}

func once(t *testing.T, w *watch.Watcher) watch.Summary {
	t.Helper()
	sum, err := w.Once(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func users(from, to purge.UserID) (all []purge.UserID) {
	for id := from; id <= to; id++ {
		all = append(all, id)
	}
	return all
}

func TestARoundAsksForEverybodyWhoIsDueAndForNobodyTwice(t *testing.T) {
	t.Parallel()
	s := newSite(1200)
	for id := purge.UserID(1); id <= 1200; id += 2 {
		delete(s.standings, id) // no reference
	}
	pending := s.retirees[2]
	pending.Retirement.State = "PENDING"
	s.retirees[2] = pending
	w := s.watcher()
	want := watch.Summary{Led: true, Requests: 1200, Eligible: 1199, WithReferences: 599, Asked: 599}
	if got := once(t, w); got != want || len(s.asked) != 599 || slices.Contains(s.asked, 2) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	want.Asked, want.Open = 0, 599
	if got := once(t, w); got != want || len(s.asked) != 599 {
		t.Errorf("again: got %+v, want %+v", got, want)
	}
	pending.Retirement.State = "LOCKING_COMPLETE" // eligible now, although the request is old
	s.retirees[2] = pending
	if got := once(t, w); got.Asked != 1 || s.asked[599] != 2 {
		t.Errorf("a user who became eligible later: got %+v", got)
	}
}

func TestJudgement(t *testing.T) {
	t.Parallel()
	justNow, earlier := time.Now().Add(-30*time.Minute), time.Now().Add(-90*time.Minute)
	for name, tc := range map[string]struct {
		standing purge.Standing
		asked    bool
	}{
		"never requested":                   {purge.Standing{Left: true}, true},
		"never requested, only the history": {purge.Standing{}, true},
		"at work":                           {purge.Standing{Left: true, Open: true}, false},
		"at work again after a failure": {purge.Standing{
			Left: true, Open: true, Ended: purge.Failed,
			EndedAt: earlier,
		}, false},
		"failed": {
			purge.Standing{Left: true, Ended: purge.Failed, EndedAt: earlier},
			false,
		},
		"failed long ago": {purge.Standing{
			Left: true, Ended: purge.Failed,
			EndedAt: time.Now().AddDate(-1, 0, 0),
		}, false},
		"refused, eligible now": {
			purge.Standing{Left: true, Ended: purge.Refused, EndedAt: earlier},
			true,
		},
		"refused just now": {
			purge.Standing{Left: true, Ended: purge.Refused, EndedAt: justNow},
			false,
		},
		"done, references are back":                {purge.Standing{Left: true, Ended: purge.Done, EndedAt: earlier}, true},
		"done just now, references are back":       {purge.Standing{Left: true, Ended: purge.Done, EndedAt: justNow}, false},
		"done, the history keeps its dead links":   {purge.Standing{Ended: purge.Done, EndedAt: earlier}, false},
		"refused, only the history has references": {purge.Standing{Ended: purge.Refused, EndedAt: earlier}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(1)
			s.standings[1] = tc.standing
			sum := once(t, s.watcher())
			if got := len(s.asked) == 1; got != tc.asked || sum.WithReferences != 1 || sum.Asked != len(s.asked) {
				t.Errorf("got asked %v, %+v; want %v", got, sum, tc.asked)
			}
			if again := tc.asked && tc.standing.Ended != ""; again != (sum.Again == 1) {
				t.Errorf("got %+v", sum)
			}
		})
	}
}

// TestCoolOffIsCountedInDaysOf24HoursInUTC stands at the edge, on a day that has 25 hours where the clock says so.
func TestCoolOffIsCountedInDaysOf24HoursInUTC(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2025, 10, 27, 10, 0, 0, 0, berlin) // the clocks were set back on the 26th
	for name, tc := range map[string]struct {
		since time.Time
		days  int
		asked bool
	}{
		"a microsecond before":  {now.UTC().Add(-7*24*time.Hour + time.Microsecond), 7, false},
		"at the edge":           {now.UTC().Add(-7 * 24 * time.Hour), 7, true},
		"same hour by the wall": {now.AddDate(0, 0, -7), 7, true}, // 7 days and an hour ago
		"none":                  {now.UTC(), 0, true},
		"the LMS's clock leads": {now.UTC().Add(time.Second), 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(1)
			r := s.retirees[1]
			r.Since = tc.since
			s.retirees[1] = r
			w := s.watcher()
			w.CoolOffDays, w.Now = tc.days, func() time.Time { return now }
			if sum := once(t, w); (sum.Asked == 1) != tc.asked || (sum.CoolingOff == 0) != tc.asked {
				t.Errorf("got %+v, want asked %v", sum, tc.asked)
			}
		})
	}
}

func TestACappedRoundIsContinuedAndTheTurnWrapsRound(t *testing.T) {
	t.Parallel()
	s := newSite(1300)
	w := s.watcher()
	w.MaxUsersPerRound = 600
	for n, want := range []struct {
		sum   watch.Summary
		first purge.UserID
	}{
		{watch.Summary{Led: true, Requests: 1000, Eligible: 1000, WithReferences: 1000, Asked: 600, Capped: true}, 1},
		{watch.Summary{Led: true, Requests: 700, Eligible: 700, WithReferences: 700, Asked: 600, Capped: true}, 601},
		{watch.Summary{Led: true, Requests: 1300, Eligible: 1300, WithReferences: 1300, Open: 1200, Asked: 100}, 1201},
	} {
		before := len(s.read)
		got := once(t, w)
		if got != want.sum || s.read[before] != want.first {
			t.Errorf("round %d: got %+v from user %d, want %+v from user %d", n+1, got, s.read[before], want.sum, want.first)
		}
	}
	if !slices.Equal(s.asked, users(1, 1300)) {
		t.Errorf("got %d users, want each of 1,300 once", len(s.asked))
	}
}

func TestNobodyIsAskedForAboveTheHighWaterMark(t *testing.T) {
	t.Parallel()
	s := newSite(1000)
	w := s.watcher()
	s.waiting, w.HighWater = 100, 800
	if sum := once(t, w); sum.Asked != 700 || !sum.Full || sum.Capped || s.waiting != 800 || s.after != 700 {
		t.Errorf("got %+v, %d waiting", sum, s.waiting)
	}
	if sum := once(t, w); sum.Asked != 0 || !sum.Full || s.after != 700 {
		t.Errorf("still full: got %+v", sum)
	}
	s.waiting = 0
	if sum := once(t, w); sum.Asked != 300 || sum.Full || sum.Open != 700 {
		t.Errorf("later: got %+v", sum)
	}
}

func TestARestartInTheMiddleOfARoundGoesOnThere(t *testing.T) {
	t.Parallel()
	s := newSite(1400)
	broken := errors.New("MySQL went away")
	s.meanwhile = func() {
		if len(s.asked) == 1000 {
			s.fail = broken
		}
	}
	if _, err := s.watcher().Once(t.Context(), 0); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	if s.after != 500 || s.led {
		t.Errorf("it stands behind user %d and leads: %v; want 500, and the lead given up", s.after, s.led)
	}
	if sum := once(t, s.watcher()); sum.Asked != 400 || sum.Open != 1000 || sum.Requests != 1400 ||
		!slices.Equal(s.asked, users(1, 1400)) {
		t.Errorf("after it: got %+v", sum)
	}
	if s.after != 500 {
		t.Errorf("a whole turn from 500 ended at %d", s.after)
	}
}

func TestAStopFinishesWhatWasBegun(t *testing.T) {
	t.Parallel()
	s := newSite(1400)
	ctx, cancel := context.WithCancel(t.Context())
	s.meanwhile = cancel
	sum, err := s.watcher().Once(ctx, 0)
	if !errors.Is(err, context.Canceled) || sum.Asked != 500 || s.after != 500 || s.led {
		t.Errorf("got %+v, %v, behind user %d; want one page requested and written down", sum, err, s.after)
	}
}

func TestOnlyTheLeaderMakesARound(t *testing.T) {
	t.Parallel()
	s := newSite(3)
	s.led = true
	if sum := once(t, s.watcher()); sum.Led || len(s.asked) > 0 {
		t.Errorf("got %+v", sum)
	}
}

// TestTwoWatchersKeepThePaceOfOne lets both run for a day; then one dies.
func TestTwoWatchersKeepThePaceOfOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(1)
		s.standings = nil
		var log sandboxtest.Buffer
		logger := slog.New(slog.NewTextHandler(&log, nil))
		ctx, cancel := context.WithCancel(t.Context())
		dying, die := context.WithCancel(ctx)
		for _, c := range []context.Context{ctx, dying} {
			go func() {
				if err := s.watcher().Run(c, logger); err != nil {
					t.Errorf("got %v", err)
				}
			}()
		}
		rounds := func(d time.Duration) int {
			before := strings.Count(log.String(), "round finished")
			time.Sleep(d) //nolint:forbidigo // in a bubble, where time passes at once
			synctest.Wait()
			return strings.Count(log.String(), "round finished") - before
		}
		// 144 at the interval; each is 8 to 11 minutes behind the one before.
		if got := rounds(24 * time.Hour); got < 130 || got > 181 {
			t.Errorf("both: got %d rounds in a day", got)
		}
		die()
		if got := rounds(24 * time.Hour); got < 130 || got > 181 {
			t.Errorf("one: got %d rounds in a day", got)
		}
		cancel()
		synctest.Wait()
	})
}

func TestRunEndsWithTheFirstRoundThatFails(t *testing.T) {
	t.Parallel()
	s := newSite(3)
	s.fail = errors.New("Redis went away")
	if err := s.watcher().Run(t.Context(), slog.New(slog.DiscardHandler)); err == nil ||
		!strings.Contains(err.Error(), "Redis went away") {
		t.Errorf("got %v", err)
	}
}
