package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// traces collects spans as an OpenTelemetry collector would.
type traces struct {
	mu    sync.Mutex
	spans []*otlp.Span
	of    map[string]string // span id to service
}

func (c *traces) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	var sent collector.ExportTraceServiceRequest
	if err = cmp.Or(err, proto.Unmarshal(data, &sent)); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range sent.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				c.spans = append(c.spans, span)
				c.of[string(span.GetSpanId())] = resource.GetResource().GetAttributes()[0].GetValue().GetStringValue()
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// tree writes the spans below a parent, with the time that each took.
func (c *traces) tree(out *strings.Builder, parent, indent string) {
	var children []*otlp.Span
	for _, span := range c.spans {
		if string(span.GetParentSpanId()) == parent {
			children = append(children, span)
		}
	}
	slices.SortFunc(children, func(a, b *otlp.Span) int {
		return cmp.Compare(a.GetStartTimeUnixNano(),
			b.GetStartTimeUnixNano())
	})
	for _, span := range children {
		took := time.Duration(span.GetEndTimeUnixNano() - span.GetStartTimeUnixNano()) //nolint:gosec // short
		fmt.Fprintf(out, "%s%s %v (%s)\n", indent, span.GetName(), took.Round(10*time.Microsecond),
			strings.TrimPrefix(c.of[string(span.GetSpanId())], "certpurge-"))
		c.tree(out, string(span.GetSpanId()), indent+"  ")
	}
}

const someToken = "AVeryLongTokenThatNobodyWouldEverGuess0123456789abc"

// serve starts the real enqueuer, with further settings in its environment, and returns its address.
func (s *site) serve(environ ...string) (url string, stop func()) {
	s.t.Helper()
	enqueuer, _ := sandboxtest.Binaries(s.t)
	sum := sha256.Sum256([]byte(someToken))
	file := filepath.Join(s.t.TempDir(), "enqueuer.yaml")
	content := fmt.Sprintf("serve: {listen: \"127.0.0.1:0\"}\nadmin: {listen: \"\"}\ntokens:\n  - {name: test, sha256: "+
		"%s, rights: [enqueue, read], rate: 10000, burst: 100000}\n", hex.EncodeToString(sum[:]))
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	said := &sandboxtest.Buffer{}
	cmd := exec.CommandContext(s.t.Context(), enqueuer, "--config", file, "serve") //nolint:gosec // our own binary
	cmd.Stderr = said
	cmd.Env = append([]string{
		"CERTPURGE_MYSQL_DSN=" + s.db.LedgerDSN(s.accounts.Enqueuer), "CERTPURGE_LMS_DATABASE=" + s.cfg.LMS.Database,
		"CERTPURGE_REDIS_URL=" + s.cfg.Redis.URL.Reveal(),
	}, environ...)
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	address := regexp.MustCompile(`"msg":"serving","address":"([^"]+)"`)
	sandboxtest.Eventually(s.t, "the server listens", func() bool {
		match := address.FindStringSubmatch(said.String())
		if match != nil {
			url = "http://" + match[1]
		}
		return match != nil
	})
	return url, sync.OnceFunc(func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			s.t.Error(err)
		}
		_ = cmd.Wait() // interrupted
	})
}

// TestATraceLeadsFromTheDriverToTheBucket makes a call of the retirement driver, and looks for all that it led to.
func TestATraceLeadsFromTheDriverToTheBucket(t *testing.T) {
	t.Parallel()
	got := &traces{of: map[string]string{}}
	server := httptest.NewServer(got)
	defer server.Close()
	s := newSite(t)
	user := s.addUser()
	unasked := s.addUser()
	s.cfg.Tracing.Endpoint, s.cfg.Tracing.SampleRatio = server.URL+"/v1/traces", 0 // nothing that begins here is kept
	worker := s.start()
	url, stop := s.serve("CERTPURGE_TRACING_ENDPOINT="+s.cfg.Tracing.Endpoint, "CERTPURGE_TRACING_SAMPLE_RATIO=0")
	defer stop()
	const trace, caller = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/api/v1/retire_user",
		strings.NewReader(fmt.Sprintf(`{"lms_user_id": %d}`, user)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+someToken)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Traceparent", "00-"+trace+"-"+caller+"-01")
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close() // it is empty
	if answer.StatusCode != http.StatusNoContent {
		t.Fatalf("got %s", answer.Status)
	}
	s.await(purge.Done, s.enqueue(unasked)...)
	sandboxtest.Eventually(t, "the metrics have an exemplar", func() bool { // the ledger knows of the end first
		return strings.Contains(worker.openMetrics(t), `trace_id="`+trace+`"`)
	})
	stop()
	if err := worker.stop(); err != nil {
		t.Fatal(err)
	}

	got.mu.Lock()
	defer got.mu.Unlock()
	parent, err := hex.DecodeString(caller)
	if err != nil {
		t.Fatal(err)
	}
	var tree strings.Builder
	got.tree(&tree, string(parent), "")
	t.Logf("the trace:\n%s", tree.String())
	for name, want := range map[string]int{
		"POST /api/v1/retire_user": 1, "  accept": 1, "    mysql accept": 1, "    redis enqueue": 1, "    purge": 1,
		"      mysql begin": 1,
		"      mysql user":  0, "      mysql intend": 1, "      mysql record": 1, "      list": 8, "        gcs list": 8,
		"      delete": 8, "        gcs delete": 8,
	} {
		if n := len(regexp.MustCompile(`(?m)^`+name+` [0-9.]+[mµ]?s \(`).FindAllString(tree.String(), -1)); n != want {
			t.Errorf("got %d times %q, want %d", n, name, want)
		}
	}
	for _, span := range got.spans {
		if hex.EncodeToString(span.GetTraceId()) != trace {
			t.Errorf("span %s belongs to another trace", span.GetName())
		}
		text := span.String()
		for _, secret := range []string{
			"learner", "Certificate", "downloads/", "certs", "127.0.0.1", s.id(int(user) * 10),
			fmt.Sprintf("int_value:%d ", 1_000_000+user),
		} {
			if strings.Contains(text, secret) {
				t.Errorf("span %s holds %q: %s", span.GetName(), secret, text)
			}
		}
	}
	if n := strings.Count(worker.log.String(), "trace_id="+trace); n != 1 {
		t.Errorf("got %d lines of the worker's log with the trace, want that of the task", n)
	}
}

// openMetrics reads the metrics as Prometheus does when it wants exemplars.
func (r *running) openMetrics(t *testing.T) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.base(t)+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "application/openmetrics-text")
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(answer.Body); err != nil {
		t.Fatal(err)
	}
	return body.String()
}

// TestACollectorThatHangsCostsNothing has one that takes connections and never answers.
func TestACollectorThatHangsCostsNothing(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	s := newSite(t)
	s.cfg.Tracing.Endpoint, s.cfg.Tracing.SampleRatio = "http://"+listener.Addr().String()+"/v1/traces", 1
	var users []purge.UserID
	for range 20 {
		users = append(users, s.addUser())
	}
	worker := s.start()
	s.await(purge.Done, s.enqueue(users...)...)
	s.checkErased(users...)
	begun := time.Now()
	if err := worker.stop(); err != nil || time.Since(begun) > 10*time.Second {
		t.Errorf("stopping took %v: %v", time.Since(begun), err)
	}
}
