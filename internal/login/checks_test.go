package login

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// checkTime is how long a check takes here, by the bubble's clock.
const checkTime = 200 * time.Millisecond

// siege is a gate whose checks take their time, in a bubble.
type siege struct {
	handler  http.Handler
	compared atomic.Int64
	highest  atomic.Int64 // checks at the same time
	running  atomic.Int64
}

func newSiege(t *testing.T) *siege {
	t.Helper()
	s := &siege{}
	gate := NewGate(parse(t, "alice:operate:"+string(unknownHash(MinCost))), Proxy{}, slog.New(slog.DiscardHandler))
	gate.compare = func(_, password []byte) error {
		s.compared.Add(1)
		s.highest.Store(max(s.highest.Load(), s.running.Add(1)))
		defer s.running.Add(-1)
		<-time.After(checkTime)
		if string(password) != rightPassword {
			return errors.New("no")
		}
		return nil
	}
	s.handler = gate.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	return s
}

// try sends one login.
func (s *siege) try(ctx context.Context, from, password string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", http.NoBody)
	r.RemoteAddr = from
	r.SetBasicAuth("alice", password)
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

// insist sends a login until it is let in, and waits in between as it is told to.
func (s *siege) insist(ctx context.Context, from, password string) int {
	for n := 1; ; n++ {
		w := s.try(ctx, from, password)
		if w.Code == http.StatusOK || ctx.Err() != nil {
			return w.Code
		}
		after, _ := strconv.Atoi(w.Header().Get("Retry-After"))
		select {
		case <-time.After(time.Duration(after) * time.Second):
		case <-ctx.Done():
			return w.Code
		}
	}
}

// guess has 40 addresses guess without a pause, until stop is called.
func (s *siege) guess(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var guessing sync.WaitGroup
	for i := range 40 {
		guessing.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				if s.try(ctx, fmt.Sprintf("203.0.113.%d:1", i+1), fmt.Sprint("guess ", n)).Code != http.StatusUnauthorized {
					select {
					case <-time.After(checkTime):
					case <-ctx.Done():
					}
				}
			}
		})
	}
	return func() { cancel(); guessing.Wait() }
}

// TestFortyGuessersDelayNobodyForLong measures the wait of a login in checks.
func TestFortyGuessersDelayNobodyForLong(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		guessed time.Duration // how long they have guessed before
		most    int64
	}{
		"each of them guesses for the first time": {0, 41},
		"each of them has guessed before":         {41 * checkTime, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newSiege(t)
				stop := s.guess(t.Context())
				<-time.After(tc.guessed + time.Millisecond)
				before := s.compared.Load()
				if got := s.insist(t.Context(), "192.0.2.1:1", rightPassword); got != http.StatusOK {
					t.Errorf("got %d", got)
				}
				if got := s.compared.Load() - before; got > tc.most {
					t.Errorf("the login waited for %d checks, want %d at most", got, tc.most)
				}
				begun := time.Now()
				for range 100 { // known now
					if got := s.try(t.Context(), "192.0.2.1:1", rightPassword).Code; got != http.StatusOK {
						t.Fatalf("known: got %d", got)
					}
				}
				if waited := time.Since(begun); waited != 0 {
					t.Errorf("a login that is known waited for %s", waited)
				}
				stop()
				if got := s.highest.Load(); got != 1 {
					t.Errorf("got %d checks at the same time", got)
				}
			})
		})
	}
}

func TestTheQueueOfChecksIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSiege(t)
		var codes sync.Map
		var all sync.WaitGroup
		for i := range maxChecks + 10 {
			all.Go(func() {
				begun := time.Now()
				w := s.try(t.Context(), fmt.Sprintf("203.0.113.%d:1", i+1), "guess")
				codes.Store(i, w.Code)
				if w.Code == http.StatusTooManyRequests && (time.Since(begun) != 0 || w.Header().Get("Retry-After") == "") {
					t.Errorf("429 after %s, Retry-After %q, want it at once", time.Since(begun), w.Header().Get("Retry-After"))
				}
			})
		}
		all.Wait()
		count := map[int]int{}
		codes.Range(func(_, code any) bool { n, _ := code.(int); count[n]++; return true })
		if count[http.StatusUnauthorized] != maxChecks+1 || count[http.StatusTooManyRequests] != 9 {
			t.Errorf("got %v, want %d checked and the others 429", count, maxChecks+1)
		}
	})
}

func TestOneNetworkHasOneCheck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSiege(t)
		var all sync.WaitGroup
		for range 5 { // a browser sends several requests at once
			all.Go(func() {
				if got := s.try(t.Context(), "192.0.2.1:1", rightPassword).Code; got != http.StatusOK {
					t.Errorf("the same login: got %d", got)
				}
			})
		}
		synctest.Wait()
		if got := s.try(t.Context(), "192.0.2.1:2", "another").Code; got != http.StatusTooManyRequests {
			t.Errorf("another login of the network: got %d", got)
		}
		all.Wait()
		if got := s.compared.Load(); got != 1 {
			t.Errorf("got %d checks, want 1", got)
		}
		for range 5 {
			all.Go(func() {
				if got := s.try(t.Context(), "192.0.2.2:1", "wrong").Code; got != http.StatusUnauthorized {
					t.Errorf("the same wrong login: got %d", got)
				}
			})
		}
		all.Wait()
		if got := s.compared.Load(); got != 2 {
			t.Errorf("got %d checks, want 2", got)
		}
	})
}

// TestAClientThatLeavesMakesRoom also has one leave whose credentials another request waits for.
func TestAClientThatLeavesMakesRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSiege(t)
		go s.try(t.Context(), "203.0.113.1:1", "guess")
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		go s.try(ctx, "192.0.2.1:1", rightPassword)
		synctest.Wait()
		code := make(chan int, 1)
		go func() { code <- s.try(t.Context(), "192.0.2.1:2", rightPassword).Code }()
		synctest.Wait()
		cancel()
		if got := <-code; got != http.StatusTooManyRequests {
			t.Errorf("the one that waited for another's check: got %d, want 429 and no word about the password", got)
		}
		if got := s.insist(t.Context(), "192.0.2.1:2", rightPassword); got != http.StatusOK {
			t.Errorf("afterwards: got %d", got)
		}
		if got := s.compared.Load(); got != 2 {
			t.Errorf("got %d checks, want none for the client that had left", got)
		}
	})
}
