package mysql_test

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
)

func TestAKeyBelongsToOneBody(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	key, err := purge.CallerKey("", "order-1")
	if err != nil {
		t.Fatal(err)
	}
	same := func(name, key, body string, wantSame, wantAccepted bool) {
		t.Helper()
		same, accepted, err := f.enqueuer.SameBody(t.Context(), key, sha256.Sum256([]byte(body)))
		if err != nil || same != wantSame || accepted != wantAccepted {
			t.Errorf("%s: got %v %v %v, want %v %v", name, same, accepted, err, wantSame, wantAccepted)
		}
	}
	same("the first call", key, "a", true, false)
	same("tried again before it was accepted", key, "a", true, false)
	same("another body meanwhile", key, "b", false, false)
	for range 2 {
		if err := f.enqueuer.BodyAccepted(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	same("a replay", key, "a", true, true)
	same("another body", key, "b", false, true)
	other := key[:len(key)-1] + "x"
	same("another key", other, "b", true, false)
	for _, k := range []string{key, other} {
		if err := f.enqueuer.ForgetBody(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
	same("a replay, forgotten in vain", key, "a", true, true)
	same("a key that was refused and forgotten", other, "c", true, false)
}

// TestOldKeysAreForgotten, and the requests that they led to are not.
func TestOldKeysAreForgotten(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	user := f.NewUser(purge.Retirement{})
	first := purge.Submission{User: user, Key: "first", Source: purge.SourceAPI}
	var submissions []purge.Submission
	for n := range 600 {
		submissions = append(submissions, purge.Submission{User: user, Key: fmt.Sprint("key", n), Source: purge.SourceAPI})
	}
	must(f.Accept(t.Context(), append([]purge.Submission{first}, submissions...)))
	for _, w := range submissions {
		if _, _, err := f.enqueuer.SameBody(t.Context(), w.Key, [32]byte{}); err != nil {
			t.Fatal(err)
		}
	}
	f.exec("UPDATE " + f.db.Ledger + ".request_keys SET created_at = created_at - INTERVAL 40 DAY WHERE " +
		"idempotency_key <> 'key0'")
	f.exec("UPDATE " + f.db.Ledger + ".request_bodies SET created_at = created_at - INTERVAL 40 DAY WHERE " +
		"idempotency_key <> 'key0'")
	removed, err := f.enqueuer.PruneKeys(t.Context(), time.Now().Add(-30*24*time.Hour))
	if err != nil || removed != 2*599 {
		t.Errorf("got %d removed, %v", removed, err)
	}
	for table, want := range map[string]int{"requests": 1, "request_keys": 1, "request_bodies": 1} {
		if rows := f.db.DumpTable(t, f.db.Ledger+"."+table); len(rows) != want {
			t.Errorf("%s: got %d rows, want %d", table, len(rows), want)
		}
	}
	if again := must(f.Accept(t.Context(), submissions[:2])); again[0].Request != again[1].Request ||
		again[1].Found != "queued" {
		t.Errorf("a forgotten key: got %+v, want it to lead to the open request again", again)
	}
}
