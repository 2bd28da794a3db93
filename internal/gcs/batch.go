package gcs

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// batcher sends deletes of one bucket that are ready at the same moment as one batch request, and returns to each its
// own answer (https://cloud.google.com/storage/docs/batch). It comes after the other RoundTrippers, so admission,
// observation and classes are those of each delete. A single delete is sent as it is, and so is a retry: a delete that
// fails or hangs does so at most once for the others of its batch.
type batcher struct {
	next   http.RoundTripper
	log    *slog.Logger
	gather func() // lets the other goroutines that are ready run first
	min    int    // deletes that make a batch

	unsupported atomic.Bool // the endpoint takes no batches

	mu      sync.Mutex
	waiting map[*bucket][]*batchedDelete
}

// batchedDelete is one delete. Once done is closed, either single is set, or resp or err is.
type batchedDelete struct {
	request *http.Request
	done    chan struct{}
	resp    *http.Response
	err     error
	single  bool   // it is to be sent by itself
	batch   *batch // once it is sent; guarded by batcher.mu
}

// batch is a request that is under way.
type batch struct {
	callers int // that wait for it
	cancel  context.CancelFunc
}

const (
	batchPath = "/batch/storage/v1"
	// batchedPath begins the path of what a batch may hold; an endpoint with another path is no Cloud Storage.
	batchedPath = "/storage/v1/b/"
	// maxBatch is the documented bound of the calls in a batch. They have about half a kilobyte each, so the documented
	// bound of 10 MB is far.
	maxBatch = 100
	// maxBatchAnswer is far above 100 answers to deletes.
	maxBatchAnswer = 8 << 20
	// batchBoundary begins no line of a batch: those begin with a method, or with the name of a header.
	batchBoundary = "certpurge-batch"
	batchID       = "delete+"
)

func newBatcher(next http.RoundTripper, cfg Config) *batcher {
	t := &batcher{next: next, log: cfg.Log, gather: runtime.Gosched, min: 2, waiting: map[*bucket][]*batchedDelete{}}
	if cfg.gather != nil {
		t.gather = cfg.gather
	}
	if cfg.minBatch > 0 {
		t.min = cfg.minBatch
	}
	return t
}

// RoundTrip sends a request, perhaps in a batch. The first delete sends all that arrive while it gathers.
func (t *batcher) RoundTrip(r *http.Request) (*http.Response, error) {
	c, ok := r.Context().Value(callKey{}).(*call)
	if !ok || r.Method != http.MethodDelete || c.tries > 1 || t.unsupported.Load() ||
		!strings.HasPrefix(r.URL.Path, batchedPath) {
		return t.next.RoundTrip(r)
	}
	d := &batchedDelete{request: r, done: make(chan struct{})}
	t.mu.Lock()
	first := len(t.waiting[c.bucket]) == 0
	t.waiting[c.bucket] = append(t.waiting[c.bucket], d)
	t.mu.Unlock()
	if first {
		t.gather()
		t.mu.Lock()
		all := t.waiting[c.bucket]
		delete(t.waiting, c.bucket)
		alone := len(all) < t.min
		for !alone && len(all) > 0 {
			n := min(len(all), maxBatch)
			t.start(r.Context(), all[:n])
			all = all[n:]
		}
		t.mu.Unlock()
		if alone {
			return t.next.RoundTrip(r)
		}
	}
	select {
	case <-d.done:
	case <-r.Context().Done():
		t.leave(c.bucket, d)
		return nil, context.Cause(r.Context())
	}
	if d.single {
		return t.next.RoundTrip(r)
	}
	return d.resp, d.err
}

// start sends a batch in a goroutine of its own, because any of its callers may leave. The caller holds mu.
func (t *batcher) start(ctx context.Context, all []*batchedDelete) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	b := &batch{callers: len(all), cancel: cancel}
	for _, d := range all {
		d.batch = b
	}
	go func() {
		defer cancel()
		t.send(ctx, all)
		for _, d := range all {
			close(d.done)
		}
	}()
}

// leave removes a delete whose caller has left, or cancels its batch if no caller is left.
func (t *batcher) leave(from *bucket, d *batchedDelete) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d.batch == nil {
		t.waiting[from] = slices.DeleteFunc(t.waiting[from], func(other *batchedDelete) bool { return other == d })
		return
	}
	if d.batch.callers--; d.batch.callers == 0 {
		d.batch.cancel()
	}
}

// send sends a batch and gives each of its deletes its answer.
func (t *batcher) send(ctx context.Context, all []*batchedDelete) {
	resp, body, err := t.post(ctx, all) //nolint:bodyclose // post has read and closed it
	if err != nil {
		for _, d := range all {
			d.err = err
		}
		return
	}
	kind, params, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch code := resp.StatusCode; {
	case code == http.StatusOK && err == nil && kind == "multipart/mixed":
		readBatch(body, params["boundary"], all)
	case code == http.StatusUnauthorized, code == http.StatusRequestTimeout, code == http.StatusTooManyRequests,
		code >= http.StatusInternalServerError && code != http.StatusNotImplemented:
		for _, d := range all {
			again := *resp
			again.Header, again.Body, again.Request = resp.Header.Clone(), io.NopCloser(bytes.NewReader(body)), d.request
			d.resp = &again
		}
	default: // each delete is sent by itself and gets its own answer
		if !t.unsupported.Swap(true) {
			t.log.WarnContext(ctx, "the storage endpoint takes no batch requests: deletes are sent one by one",
				slog.Int("status", code))
		}
		for _, d := range all {
			d.single = true
		}
	}
}

// post sends a batch and reads the whole answer.
func (t *batcher) post(ctx context.Context, all []*batchedDelete) (*http.Response, []byte, error) {
	r, err := newBatch(ctx, all)
	if err != nil {
		return nil, nil, err
	}
	resp, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, nil, err
	}
	var body bytes.Buffer
	body.Grow(int(max(bytes.MinRead, min(resp.ContentLength+bytes.MinRead, maxBatchAnswer))))
	_, err = body.ReadFrom(io.LimitReader(resp.Body, maxBatchAnswer))
	if closeErr := resp.Body.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading the answer to a batch: %w", err)
	}
	return resp, body.Bytes(), nil
}

// newBatch makes the request. Each delete keeps its own headers, such as the idempotency token.
func newBatch(ctx context.Context, all []*batchedDelete) (*http.Request, error) {
	var b bytes.Buffer
	b.Grow(640 * len(all))
	for i, d := range all {
		b.WriteString("--" + batchBoundary + "\r\nContent-Type: application/http\r\nContent-ID: <" + batchID)
		b.WriteString(strconv.Itoa(i))
		b.WriteString(">\r\n\r\nDELETE ")
		b.WriteString(d.request.URL.RequestURI())
		b.WriteString(" HTTP/1.1\r\n")
		for key, values := range d.request.Header {
			for _, value := range values {
				b.WriteString(key)
				b.WriteString(": ")
				b.WriteString(value)
				b.WriteString("\r\n")
			}
		}
		b.WriteString("\r\n\r\n")
	}
	b.WriteString("--" + batchBoundary + "--\r\n")
	to := *all[0].request.URL
	to.Path, to.RawPath, to.RawQuery = batchPath, "", ""
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), bytes.NewReader(b.Bytes()))
	if err != nil {
		return nil, fmt.Errorf("making a batch: %w", err)
	}
	r.Header.Set("Content-Type", "multipart/mixed; boundary="+batchBoundary)
	return r, nil
}

// errNoPart means that the answer to the batch does not say whether a delete was done. The client library retries it,
// and a retry is sent by itself.
var errNoPart = fmt.Errorf("the answer to the batch holds none to this delete: %w", io.ErrUnexpectedEOF)

// readBatch gives each delete its part of the answer. Only a whole part that names the delete, and is the only one that
// does, is an answer.
func readBatch(body []byte, boundary string, all []*batchedDelete) {
	for _, d := range all {
		d.err = errNoPart
	}
	if boundary == "" {
		return
	}
	delimiter := []byte("\r\n--" + boundary)
	rest, ok := bytes.CutPrefix(body, delimiter[2:])
	if !ok {
		_, rest, ok = bytes.Cut(body, delimiter)
	}
	seen := make([]bool, len(all))
	for inner := bufio.NewReaderSize(nil, 1<<10); ok && !bytes.HasPrefix(rest, []byte("--")); {
		var part []byte
		if part, rest, ok = bytes.Cut(rest, delimiter); !ok {
			return // it is cut off
		}
		header, content, whole := bytes.Cut(part, []byte("\r\n\r\n"))
		n := partNumber(header)
		if !whole || n < 0 || n >= len(all) {
			continue
		}
		d := all[n]
		if seen[n] {
			d.resp, d.err = nil, errNoPart
			continue
		}
		seen[n] = true
		inner.Reset(bytes.NewReader(content))
		if resp, err := readPart(inner, d.request); err == nil { //nolint:bodyclose // it is the caller's, in memory
			d.resp, d.err = resp, nil
		}
	}
}

// partNumber reads the number of the delete from the header of a part; -1 if there is none.
func partNumber(header []byte) int {
	for line := range bytes.SplitSeq(header, []byte("\r\n")) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if !bytes.EqualFold(name, []byte("Content-ID")) {
			continue
		}
		id, begins := bytes.CutPrefix(bytes.TrimSpace(value), []byte("<response-"+batchID))
		id, ends := bytes.CutSuffix(id, []byte(">"))
		if n, err := strconv.ParseUint(string(id), 10, 16); begins && ends && err == nil {
			return int(n)
		}
		return -1
	}
	return -1
}

// readPart reads the answer in a part.
func readPart(part *bufio.Reader, r *http.Request) (*http.Response, error) {
	resp, err := http.ReadResponse(part, r)
	if err != nil {
		return nil, err
	}
	if resp.Body == http.NoBody {
		return resp, nil
	}
	body, err := io.ReadAll(resp.Body) // now: the reader is the next part's, too
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, err
}
