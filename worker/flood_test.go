package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// flood sends requests for one user, each with an idempotency key of its own, and counts the answers.
type flood struct {
	url  string
	user purge.UserID

	sent     atomic.Int64
	mu       sync.Mutex
	accepted int // 202
	tooMany  int // 409 too_many_keys
	odd      []string
}

// senders is how many calls of a flood are under way at a time.
const senders = 32

// run sends keys until there are n of them and enough says so.
func (f *flood) run(t *testing.T, n int64, enough func() bool) {
	t.Helper()
	var all sync.WaitGroup
	for range senders {
		all.Go(func() {
			for t.Context().Err() == nil {
				key := f.sent.Add(1)
				if key > n && enough() {
					return
				}
				f.send(t.Context(), fmt.Sprintf("user-%d/%d", f.user, key))
			}
		})
	}
	all.Wait()
}

func (f *flood) send(ctx context.Context, key string) {
	status, body, err := post(ctx, f.url+"/v1/requests", fmt.Sprintf(`{"user_id": %d}`, f.user), key)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err == nil && status == http.StatusAccepted:
		f.accepted++
	case err == nil && status == http.StatusConflict && strings.Contains(body, "too_many_keys"):
		f.tooMany++
	default:
		f.odd = append(f.odd, fmt.Sprintf("%d %.200s %v", status, body, err))
	}
}

// deadlocks is how many deadlocks a server of MariaDB or MySQL has counted since its start.
func deadlocks(t *testing.T, db *sql.DB) (n int64) {
	t.Helper()
	var name string
	err := db.QueryRowContext(t.Context(), "SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'").Scan(&name, &n)
	if errors.Is(err, sql.ErrNoRows) { // Oracle's MySQL
		err = db.QueryRowContext(t.Context(), "SELECT count FROM information_schema.innodb_metrics"+
			" WHERE name = 'lock_deadlocks' AND status = 'enabled'").Scan(&n)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestAFloodOfKeysHoldsUpNoOtherUser sends 10,000 keys for one user, whose request stays open because a file is
// retained, and keys for a second one, whose requests end, while two workers are at work. A third user's request must
// end during the floods, at its first attempt. The servers are the test's own, and so are their counters.
func TestAFloodOfKeysHoldsUpNoOtherUser(t *testing.T) {
	t.Parallel()
	servers := sandboxtest.OwnServers(t)
	s := newSiteOn(t, sandboxtest.On(t, servers.MySQL, lms.Mixed), servers.Redis.URL(0))
	retained, ending, bystander := s.addUser(), s.addUser(), s.addUser()
	_, err := s.bucket.Put("certs", "downloads/"+s.id(int(retained)*10)+"/retained.pdf", []byte("personal"),
		gcstest.ObjectOptions{RetainUntil: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		worker := s.start()
		sandboxtest.Eventually(t, "the worker is ready", func() bool {
			status, _ := worker.health()
			return status == http.StatusOK
		})
	}
	url, stop := s.serve()
	defer stop()
	before := deadlocks(t, s.db.Root)

	var served atomic.Bool // the bystander
	stuck, again := &flood{url: url, user: retained}, &flood{url: url, user: ending}
	var floods sync.WaitGroup
	defer floods.Wait()
	floods.Go(func() { stuck.run(t, 10_000, served.Load) })
	floods.Go(func() { again.run(t, 1_000, served.Load) })
	sandboxtest.Eventually(t, "both floods are at work", func() bool {
		return stuck.sent.Load() > 1_500 && again.sent.Load() > 100
	})
	submission := fmt.Sprintf(`{"user_id": %d}`, bystander)
	status, body, err := post(t.Context(), url+"/v1/requests", submission, "bystander")
	if err != nil || status != http.StatusAccepted {
		t.Fatalf("the bystander's request: got %d %s, %v", status, body, err)
	}
	got := s.await(purge.Done, s.enqueue(bystander)...)[0] // the key leads to the same request
	served.Store(true)                                     // no flood has ended so far
	floods.Wait()

	if got.Attempts != 1 || got.Failures != 0 {
		t.Errorf("the bystander's request took %d attempts with %d failures, want 1 and 0", got.Attempts, got.Failures)
	}
	s.checkErased(bystander)
	if n := deadlocks(t, s.db.Root) - before; n != 0 {
		t.Errorf("the server counted %d deadlocks", n)
	}
	for _, f := range []*flood{stuck, again} {
		if len(f.odd) > 0 {
			t.Errorf("user %d: %d answers are neither 202 nor 409: %.1000q", f.user, len(f.odd), f.odd)
		}
	}
	t.Logf("user with an open request: %d keys accepted, %d refused; user whose requests end: %d and %d",
		stuck.accepted, stuck.tooMany, again.accepted, again.tooMany)
	const limit = purge.MaxKeys + senders // those that are under way when the last one is counted may come on top
	if stuck.accepted > 1+limit || stuck.tooMany < 10_000-1-limit {
		t.Errorf("%d keys were accepted and %d refused, want %d at most to lead to the open request",
			stuck.accepted, stuck.tooMany, limit)
	}
	var requests, keys int
	err = s.db.Root.QueryRowContext(t.Context(), "SELECT COUNT(DISTINCT r.id), COUNT(k.idempotency_key) FROM "+s.db.Ledger+
		".requests r LEFT JOIN "+s.db.Ledger+".request_keys k ON k.request_id = r.id WHERE r.user_id = ?", retained).
		Scan(&requests, &keys)
	if err != nil || requests != 1 || keys > limit {
		t.Errorf("got %d requests and %d keys, %v; want 1 request and %d keys at most", requests, keys, err, limit)
	}
	var bodies int
	err = s.db.Root.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM "+s.db.Ledger+".request_bodies").Scan(&bodies)
	if accepted := stuck.accepted + again.accepted + 1; err != nil || bodies > accepted {
		t.Errorf("the ledger remembers what came with %d keys, %v; want that of the %d accepted ones", bodies, err, accepted)
	}
}

var httpClient = &http.Client{Timeout: 5 * time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 2 * senders}}

// post sends a request with the token of serve and an idempotency key, if any, and returns status and body.
func post(ctx context.Context, url, body, key string) (status int, answer string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Authorization", "Bearer "+someToken)
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	response, err := httpClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	return response.StatusCode, string(data), err
}
