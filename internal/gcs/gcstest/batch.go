package gcstest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"sync"
)

const (
	batchPath     = "/batch/storage/v1"
	batchBoundary = "batch_gcstest"
	// maxBatch and maxBatchBody are the documented bounds.
	maxBatch     = 100
	maxBatchBody = 10_000_000
)

// WithoutBatches makes the server answer a batch request as a server does that knows none: 404.
func WithoutBatches() Option { return func(s *Server) { s.noBatches = true } }

// inner is one call of a batch.
type inner struct {
	id      string
	request *http.Request
	answer  recorder
}

// serveBatch answers a batch request (https://cloud.google.com/storage/docs/batch): it does the calls at the same time,
// each as if it had come alone, with the hook, the faults and the counters. A call whose fault is a reset, or whose
// wait ends because the client has gone, ends the connection of all.
func (s *Server) serveBatch(w http.ResponseWriter, r *http.Request) {
	outer := call{op: OpBatch, query: r.URL.Query()}
	s.stats.count(OpBatch)
	verdict := s.draw(&outer)
	calls, bad := readBatch(r)
	switch {
	case s.noBatches:
		verdict.answer = &reply{status: http.StatusNotFound, contentType: "text/plain", body: []byte("Not Found")}
	case bad != nil && verdict.answer == nil:
		refused := outer.refusal(bad)
		verdict.answer = &refused
	}
	if !wait(r.Context(), verdict.before) {
		abort(w)
		return
	}
	answer := verdict.answer
	if answer == nil || verdict.afterWork {
		done := s.doBatch(calls)
		if answer == nil {
			answer = &done
		}
	}
	if !wait(r.Context(), verdict.after) || answer.reset {
		abort(w)
		return
	}
	answer.write(w, r)
}

func (s *Server) doBatch(calls []*inner) reply {
	var doing sync.WaitGroup
	for _, c := range calls {
		doing.Go(func() { c.answer.aborted = !s.serve(&c.answer, c.request) })
	}
	doing.Wait()
	for _, c := range calls {
		if c.answer.aborted {
			return reply{reset: true}
		}
	}
	return reply{
		status: http.StatusOK, contentType: "multipart/mixed; boundary=" + batchBoundary, body: writeBatch(calls),
	}
}

// readBatch reads the calls of a batch.
func readBatch(r *http.Request) ([]*inner, *Error) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || r.Method != http.MethodPost || kind != "multipart/mixed" {
		return nil, errInvalid("A batch is a POST of multipart/mixed.")
	}
	parts := multipart.NewReader(http.MaxBytesReader(nil, r.Body, maxBatchBody), params["boundary"])
	var calls []*inner
	for {
		part, err := parts.NextRawPart()
		if err == io.EOF { //nolint:errorlint // what it returns
			break
		}
		if err != nil || part.Header.Get("Content-Type") != "application/http" {
			return nil, errInvalid("Failed to parse the batch request.")
		}
		request, err := http.ReadRequest(bufio.NewReader(part))
		if err != nil || !strings.HasPrefix(request.RequestURI, "/") {
			return nil, errInvalid("Failed to parse a call of the batch request.")
		}
		calls = append(calls, &inner{
			id: part.Header.Get("Content-ID"), request: request.WithContext(r.Context()),
			answer: recorder{header: http.Header{}},
		})
	}
	if len(calls) == 0 || len(calls) > maxBatch {
		return nil, errInvalid(fmt.Sprintf("A batch has 1 to %d calls, this one %d.", maxBatch, len(calls)))
	}
	return calls, nil
}

// writeBatch writes the answers in the order of the calls, as the service does.
func writeBatch(calls []*inner) []byte {
	var b bytes.Buffer
	for _, c := range calls {
		fmt.Fprintf(&b, "--"+batchBoundary+"\r\nContent-Type: application/http\r\n")
		if id, ok := strings.CutPrefix(c.id, "<"); ok {
			fmt.Fprintf(&b, "Content-ID: <response-%s\r\n", id)
		}
		fmt.Fprintf(&b, "\r\nHTTP/1.1 %d %s\r\n", c.answer.status, http.StatusText(c.answer.status))
		_ = c.answer.header.Write(&b) // a Buffer takes everything
		b.WriteString("\r\n")
		b.Write(c.answer.body.Bytes())
		b.WriteString("\r\n")
	}
	b.WriteString("--" + batchBoundary + "--\r\n")
	return b.Bytes()
}

// recorder keeps the answer to a call of a batch.
type recorder struct {
	header  http.Header
	status  int
	body    bytes.Buffer
	aborted bool
}

// Header implements http.ResponseWriter.
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) { r.status = status }

// Write implements http.ResponseWriter.
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }
