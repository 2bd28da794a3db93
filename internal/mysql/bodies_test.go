package mysql_test

import (
	"crypto/sha256"
	"testing"

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
	same("another key", key[:len(key)-1]+"x", "b", true, false)
}
