package auth_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/httpapi/auth"
)

// callerOf authenticates a request that must be let in.
func callerOf(t *testing.T, a *auth.Authenticator, authorization string) auth.Caller {
	t.Helper()
	caller, err := a.Authenticate(request(t, authorization))
	if err != nil {
		t.Fatal(err)
	}
	return caller
}

func TestCallersAreHeldToTheirOwnRate(t *testing.T) {
	t.Parallel()
	c := &clock{}
	cfg := full(t)
	cfg.Now = c.now
	a, limiter := newAuthenticator(t, cfg), auth.NewLimiter(cfg)
	portal := callerOf(t, a, "Bearer "+staticToken) // 1 a second, 2 at once
	other := callerOf(t, a, "Bearer x"+staticToken) // 1 a second
	service := callerOf(t, a, "JWT "+hs256([]byte(secret), nil, goodClaims()))
	superuser := callerOf(t, a, "JWT "+hs256([]byte(secret), nil,
		goodClaims(object{"preferred_username": "a", "superuser": true})))
	take := func(caller auth.Caller, want time.Duration) {
		t.Helper()
		if got := limiter.Take(caller); got != want {
			t.Errorf("%s: got a wait of %s, want %s", caller.Name, got, want)
		}
	}
	take(portal, 0)
	take(portal, 0)
	take(portal, time.Second)
	c.pass(400 * time.Millisecond)
	take(portal, 600*time.Millisecond)
	take(portal, 600*time.Millisecond) // A refusal is not counted.
	take(other, 0)
	take(other, time.Second)
	c.pass(600 * time.Millisecond)
	take(portal, 0)
	take(portal, time.Second)
	for _, caller := range []auth.Caller{service, superuser} { // 2 a second, 4 at once, each
		for range 4 {
			take(caller, 0)
		}
		take(caller, 500*time.Millisecond)
	}
	another := callerOf(t, a, "JWT "+hs256([]byte(secret), nil,
		goodClaims(object{"preferred_username": "b", "superuser": true})))
	take(another, 500*time.Millisecond)
	take(auth.Caller{Name: "portal", RateKey: "jwt:portal"}, time.Second)
	take(auth.Caller{}, time.Second)
	c.pass(time.Hour)
	take(portal, 0)
	take(portal, 0)
	take(portal, time.Second)
}

func TestBurstIsNotExceededByManyAtOnce(t *testing.T) {
	t.Parallel()
	cfg := full(t)
	cfg.Tokens[1].Rate, cfg.Tokens[1].Burst = 1, 50
	a, limiter := newAuthenticator(t, cfg), auth.NewLimiter(cfg)
	caller := callerOf(t, a, "Bearer "+staticToken)
	var let atomic.Int64
	var group sync.WaitGroup
	for range 200 {
		group.Go(func() {
			if limiter.Take(caller) == 0 {
				let.Add(1)
			}
		})
	}
	group.Wait()
	if got := let.Load(); got != 50 {
		t.Errorf("got %d requests through, want 50", got)
	}
}
