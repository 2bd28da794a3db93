package gcstest_test

import (
	"errors"
	"net/http"
	"strconv"
	"testing"
	"time"

	"cloud.google.com/go/storage"

	"github.com/certpurge/certpurge/internal/gcs/gcstest"
)

func TestLostAnswerIsReplayedToTheSameCall(t *testing.T) {
	t.Parallel()
	lost := map[string]gcstest.Fault{
		"connection reset": {Op: gcstest.OpDelete, Reset: true, AfterWork: true, Count: 1},
		"504":              {Op: gcstest.OpDelete, Status: http.StatusGatewayTimeout, AfterWork: true, Count: 1},
	}
	for how, fault := range lost {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, gcstest.BucketConfig{})
			generation := w.put(t, "a", gcstest.ObjectOptions{})
			w.AddFault(fault)
			equal(t, "delete", w.bucket.Object("a").Generation(generation).Delete(t.Context()), nil)
			stats := w.Stats()
			equal(t, "requests", stats.Deletes, 2)
			equal(t, "objects deleted", stats.ObjectsDeleted, 1)
			equal(t, "replayed", stats.Replayed, 1)
			// Another call has another token.
			if err := w.bucket.Object("a").Generation(generation).Delete(t.Context()); !errors.Is(err,
				storage.ErrObjectNotExist) {
				t.Errorf("next call: got %v, want ErrObjectNotExist", err)
			}
		})
	}
}

func TestTokenIsReplayedForTheSameDeleteWithinTheWindow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gcstest.BucketConfig{Versioning: true})
	first := w.put(t, "a", gcstest.ObjectOptions{})
	w.put(t, "a", gcstest.ObjectOptions{})
	w.put(t, "held", gcstest.ObjectOptions{TemporaryHold: true})
	object := func(name string, generation int64) string {
		return w.baseURL + "b/b/o/" + name + "?generation=" + strconv.FormatInt(generation, 10)
	}
	steps := []struct {
		behaviour string
		advance   time.Duration
		url       string
		token     string
		status    int
	}{
		{"the first is done", 0, object("a", first), "one", 204},
		{"the same is replayed", 0, object("a", first), "one", 204},
		{"another token is not", 0, object("a", first), "two", 404},
		{"no token is not", 0, object("a", first), "", 404},
		{"the same token for another object is not", 0, object("c", first), "one", 404},
		{"the same token for another generation is not", 0, object("a", first+5), "one", 404},
		{"a refusal is not remembered", 0, w.baseURL + "b/b/o/held", "three", 403},
		{"just before the window ends it is", 120*time.Second - time.Microsecond, object("a", first), "one", 204},
		{"after the window it is not", time.Microsecond, object("a", first), "one", 404},
	}
	for _, step := range steps {
		w.clock.Advance(step.advance)
		header := http.Header{}
		if step.token != "" {
			header.Set("X-Goog-Gcs-Idempotency-Token", step.token)
		}
		answer := w.send(t, http.MethodDelete, step.url, header)
		equal(t, step.behaviour, answer.status, step.status)
	}
	equalSlices(t, "left", w.states("a"), []string{"live"})
}
