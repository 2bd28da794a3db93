package gcstest_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/gcs/gcstest"
)

// sendBatch sends calls as one batch.
func (w *world) sendBatch(t *testing.T, calls ...string) answer {
	t.Helper()
	var body strings.Builder
	for i, c := range calls {
		fmt.Fprintf(&body, "--x\r\nContent-Type: application/http\r\nContent-ID: <call+%d>\r\n\r\n%s HTTP/1.1\r\n\r\n\r\n", i+1, c)
	}
	body.WriteString("--x--\r\n")
	url := strings.TrimSuffix(w.baseURL, "storage/v1/") + "batch/storage/v1"
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body.String()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", `multipart/mixed; boundary="x"`)
	got, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		return answer{body: err.Error()}
	}
	defer func() { _ = got.Body.Close() }()
	content, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{got.StatusCode, got.Header, string(content)}
}

func TestBatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gcstest.BucketConfig{})
	remove := func(name string, generation int64) string {
		return fmt.Sprintf("DELETE /storage/v1/b/b/o/%s?generation=%d", name, generation)
	}
	gone, held := w.put(t, "gone", gcstest.ObjectOptions{}), w.put(t, "held", gcstest.ObjectOptions{TemporaryHold: true})
	w.SetFaults(1, gcstest.Fault{Name: "broken", Status: http.StatusServiceUnavailable})
	got := w.sendBatch(t, remove("gone", gone), remove("held", held), remove("missing", 1), remove("broken", 1))
	equal(t, "status", got.status, http.StatusOK)
	equal(t, "type", got.header.Get("Content-Type"), "multipart/mixed; boundary=batch_gcstest")
	var answers []string
	for part := range strings.SplitSeq(got.body, "--batch_gcstest") {
		if _, id, ok := strings.Cut(part, "Content-ID: "); ok {
			id, _, _ = strings.Cut(id, "\r")
			_, status, _ := strings.Cut(part, "HTTP/1.1 ")
			answers = append(answers, id+" "+status[:3])
		}
	}
	equalSlices(t, "answers", answers,
		[]string{"<response-call+1> 204", "<response-call+2> 403", "<response-call+3> 404", "<response-call+4> 503"})
	equalSlices(t, "left", w.states(""), []string{"live"})
	stats := w.Stats()
	equal(t, "batches", stats.Batches, 1)
	equal(t, "deletes", stats.Deletes, 4)

	w.SetFaults(1, gcstest.Fault{Op: gcstest.OpDelete, Name: "held", Reset: true})
	if got := w.sendBatch(t, remove("missing", 1), remove("held", held)); got.status != 0 {
		t.Errorf("got %+v, want the reset of one call to end the connection", got)
	}
	w.SetFaults(1, gcstest.Fault{Op: gcstest.OpBatch, Status: http.StatusTooManyRequests})
	equal(t, "a fault of the batch", w.sendBatch(t, remove("missing", 1)).status, http.StatusTooManyRequests)
	equal(t, "its calls are not done", w.Stats().Deletes, 6)
	w.SetFaults(0)

	many := make([]string, 101)
	for i := range many {
		many[i] = remove("missing", 1)
	}
	equal(t, "100 calls", w.sendBatch(t, many[:100]...).status, http.StatusOK)
	equal(t, "101 calls", w.sendBatch(t, many...).status, http.StatusBadRequest)
	equal(t, "no call", w.sendBatch(t).status, http.StatusBadRequest)
	equal(t, "a whole URL", w.sendBatch(t, "DELETE "+w.baseURL+"b/b/o/x").status, http.StatusBadRequest)
}

func TestWithoutBatches(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gcstest.BucketConfig{}, gcstest.WithoutBatches())
	equal(t, "status", w.sendBatch(t, "DELETE /storage/v1/b/b/o/x").status, http.StatusNotFound)
}
