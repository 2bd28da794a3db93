package auth_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certpurge/certpurge/internal/httpapi/auth"
)

// wire answers requests for the key set without a network, so that the time of a bubble passes.
type wire struct {
	answer  func(*http.Request) (string, error)
	fetches atomic.Int64
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.fetches.Add(1)
	document, err := w.answer(r)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{},
		Body: io.NopCloser(strings.NewReader(document)), Request: r,
	}, nil
}

// endless is an answer without an end, which counts what is read of it.
type endless struct{ read atomic.Int64 }

func (e *endless) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(e), Request: r}, nil
}

func (e *endless) Read(p []byte) (int, error) {
	if e.read.Add(int64(len(p))) > 1<<20 {
		return 0, errors.New("too much was read")
	}
	return len(p), nil
}

func TestNoMoreIsReadThanAKeySetCanHave(t *testing.T) {
	t.Parallel()
	answer := &endless{}
	cfg := fromURL(t, "https://lms.example/jwks.json", &clock{})
	cfg.Transport = answer
	a := newAuthenticator(t, cfg)
	assertCode(t, a, oldToken(), auth.KeysUnavailable)
	if err := a.Ready(); err == nil || !strings.Contains(err.Error(), "larger than 256 KiB") {
		t.Errorf("got %v after %d bytes, want an end at 256 KiB", err, answer.read.Load())
	}
}

// inBubble makes an Authenticator whose key set comes over w and whose clock is the bubble's.
func inBubble(t *testing.T, w *wire, log *slog.Logger) *auth.Authenticator {
	t.Helper()
	start := time.Now()
	cfg := fromURL(t, "https://lms.example/jwks.json", &clock{})
	cfg.Transport, cfg.Log = w, log
	cfg.JWT.JWKSRefresh = 10 * time.Minute
	cfg.Now = func() time.Time { return now.Add(time.Since(start)) }
	return newAuthenticator(t, cfg)
}

// later moves the bubble's time on and waits until all that follows has happened.
func later(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestKeySetIsKeptFresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		old, next := jwks(jwk("old", &oldKey().PublicKey)), jwks(jwk("next", &nextKey().PublicKey))
		var published atomic.Pointer[string] // nil: the server is away
		published.Store(&old)
		w := &wire{answer: func(*http.Request) (string, error) {
			if document := published.Load(); document != nil {
				return *document, nil
			}
			return "", errors.New("connection refused")
		}}
		a := inBubble(t, w, nil)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			a.Run(ctx)
		}()
		synctest.Wait()
		if err := a.Ready(); err != nil || w.fetches.Load() != 1 {
			t.Fatalf("got %v after %d fetches, want the set to be fetched at the start", err, w.fetches.Load())
		}
		published.Store(&next)
		later(10*time.Minute - time.Second)
		assertCode(t, a, oldToken(), "")
		later(time.Second)
		assertCode(t, a, nextToken(), "")
		if w.fetches.Load() != 2 {
			t.Errorf("got %d fetches, want the second one after the interval, without being asked", w.fetches.Load())
		}
		published.Store(nil)
		later(10 * time.Minute)
		assertCode(t, a, nextToken(), "")
		later(time.Minute)
		if w.fetches.Load() != 7 { // One that fails, and one each 15 seconds.
			t.Errorf("got %d fetches, want it to be tried again soon after a failure", w.fetches.Load())
		}
		published.Store(&old)
		later(15 * time.Second)
		assertCode(t, a, oldToken(), "")
		stop()
		<-ended
	})
}

func TestManyCallersWaitForOneFetch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		w := &wire{answer: func(*http.Request) (string, error) {
			<-release
			return jwks(jwk("old", &oldKey().PublicKey)), nil
		}}
		a := inBubble(t, w, nil)
		token, wrong := oldToken(), nextToken()
		var accepted, refused atomic.Int64
		var group sync.WaitGroup
		for i := range 200 {
			group.Go(func() {
				authorization, count := token, &accepted
				if i%2 == 1 {
					authorization, count = wrong, &refused
				}
				_, err := a.Authenticate(request(t, authorization))
				if (err == nil) == (count == &accepted) {
					count.Add(1)
				}
			})
		}
		synctest.Wait()
		close(release)
		group.Wait()
		if w.fetches.Load() != 1 || accepted.Load() != 100 || refused.Load() != 100 {
			t.Errorf("got %d fetches, %d accepted, %d refused, want 1, 100 and 100", w.fetches.Load(), accepted.Load(),
				refused.Load())
		}
	})
}

func TestCallerThatGoesAwayTakesNoFetchAlong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		w := &wire{answer: func(r *http.Request) (string, error) {
			select {
			case <-release:
				return jwks(jwk("old", &oldKey().PublicKey)), nil
			case <-r.Context().Done():
				return "", r.Context().Err()
			}
		}}
		a := inBubble(t, w, nil)
		ctx, leave := context.WithCancel(t.Context())
		leaving := request(t, oldToken()).WithContext(ctx)
		var first, second error
		var group sync.WaitGroup
		group.Go(func() { _, first = a.Authenticate(leaving) })
		synctest.Wait()
		group.Go(func() { _, second = a.Authenticate(request(t, oldToken())) })
		synctest.Wait()
		leave()
		synctest.Wait()
		if codeOf(t, first) != auth.KeysUnavailable {
			t.Errorf("the first got %v, want it not to wait any longer", first)
		}
		close(release)
		group.Wait()
		if second != nil || w.fetches.Load() != 1 {
			t.Errorf("the second got %v after %d fetches, want the first fetch to go on", second, w.fetches.Load())
		}
	})
}

func TestSilentServerEndsTheWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &wire{answer: func(r *http.Request) (string, error) {
			<-r.Context().Done()
			return "", r.Context().Err()
		}}
		var log lockedBuffer
		a := inBubble(t, w, slog.New(slog.NewTextHandler(&log, nil)))
		start := time.Now()
		assertCode(t, a, oldToken(), auth.KeysUnavailable)
		if waited := time.Since(start); waited != 10*time.Second {
			t.Errorf("got a wait of %s, want 10 seconds", waited)
		}
		synctest.Wait()
		if got := log.String(); !strings.Contains(got, "no answer within 10s") {
			t.Errorf("logged %q, want the time-out", got)
		}
		assertCode(t, a, oldToken(), auth.KeysUnavailable)
		if w.fetches.Load() != 1 {
			t.Errorf("got %d fetches within a minute, want 1", w.fetches.Load())
		}
	})
}

// TestRotationUnderLoad lets the race detector look: callers, a set that changes with every fetch, and readiness.
func TestRotationUnderLoad(t *testing.T) {
	t.Parallel()
	s, c := newLMS(t), &clock{}
	both := []object{jwk("old", &oldKey().PublicKey), jwk("next", &nextKey().PublicKey)}
	s.answerWith(func(w http.ResponseWriter, r *http.Request) {
		text(jwks(both[:1+s.fetches.Load()%2]...))(w, r) // There is one fetch at a time.
	})
	cfg := fromURL(t, s.URL, c)
	cfg.JWT.JWKSRefresh = time.Nanosecond
	cfg.Tokens = full(t).Tokens
	a, limiter := newAuthenticator(t, cfg), auth.NewLimiter(cfg)
	old, next := oldToken(), nextToken()
	assertCode(t, a, old, "") // From here on there are keys.
	ctx, stop := context.WithCancel(t.Context())
	var callers, refresher sync.WaitGroup
	refresher.Go(func() { a.Run(ctx) })
	for range 4 {
		callers.Go(func() {
			for range 50 {
				assertCode(t, a, old, "") // In the set all the time.
				if _, err := a.Authenticate(request(t, next)); err != nil && codeOf(t, err) != auth.KeyUnknown &&
					codeOf(t, err) != auth.KeysUnavailable {
					t.Errorf("got %v, want the key to be known or not", err)
				}
				caller, err := a.Authenticate(request(t, "Bearer "+staticToken))
				if err != nil {
					t.Error(err)
				}
				_ = limiter.Take(caller)
				if err := a.Ready(); err != nil {
					t.Error(err)
				}
				c.pass(time.Second)
			}
		})
	}
	callers.Wait()
	stop()
	refresher.Wait()
}
