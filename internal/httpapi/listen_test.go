package httpapi_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/httpapi"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// listening is a server on a port of its own.
type listening struct {
	t       *testing.T
	address string
	cancel  context.CancelFunc
	done    chan error
}

func listen(t *testing.T, cfg config.Serve, handler http.HandlerFunc, stopping func()) *listening {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &listening{t: t, cancel: cancel, done: make(chan error, 1)}
	cfg.Listen = "127.0.0.1:0"
	started := make(chan net.Addr, 1)
	go func() {
		l.done <- httpapi.Serve(ctx, cfg, slog.New(slog.DiscardHandler), handler, func(a net.Addr) { started <- a }, stopping)
	}()
	select {
	case a := <-started:
		l.address = a.String()
	case err := <-l.done:
		t.Fatal(err)
	}
	t.Cleanup(cancel)
	return l
}

// get asks once, and returns status, protocol and body.
func (l *listening) get(client *http.Client, scheme string) (int, string, string) {
	l.t.Helper()
	r, err := http.NewRequestWithContext(l.t.Context(), http.MethodGet, scheme+"://"+l.address+"/", http.NoBody)
	if err != nil {
		l.t.Fatal(err)
	}
	response, err := client.Do(r)
	if err != nil {
		l.t.Error(err)
		return 0, "", ""
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		l.t.Error(err)
	}
	return response.StatusCode, response.Proto, string(body)
}

var usual = config.Serve{ReadTimeout: 30 * time.Second, DrainTimeout: 10 * time.Second}

func TestServeSpeaksHTTP1AndHTTP2(t *testing.T) {
	t.Parallel()
	l := listen(t, usual, func(http.ResponseWriter, *http.Request) {}, func() {})
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	for want, transport := range map[string]*http.Transport{"HTTP/1.1": {}, "HTTP/2.0": {Protocols: &protocols}} {
		if status, proto, _ := l.get(&http.Client{Transport: transport}, "http"); status != http.StatusOK || proto != want {
			t.Errorf("got %d by %s, want %s", status, proto, want)
		}
		transport.CloseIdleConnections()
	}
	l.cancel()
	if err := sandboxtest.Receive(t, "the end of the server", l.done); err != nil {
		t.Errorf("got %v, want a quiet end", err)
	}
}

func TestServeEndsWhatIsInHand(t *testing.T) {
	t.Parallel()
	arrived, stopped := make(chan struct{}), make(chan struct{})
	l := listen(t, usual, func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-stopped
		_, _ = io.WriteString(w, "whole")
	}, func() { close(stopped) })
	go func() {
		<-arrived
		l.cancel()
	}()
	if status, _, body := l.get(&http.Client{Transport: &http.Transport{}}, "http"); status != http.StatusOK ||
		body != "whole" {
		t.Errorf("got %d %q", status, body)
	}
	if err := sandboxtest.Receive(t, "the end of the server", l.done); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestServeCutsWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	cfg := usual
	cfg.DrainTimeout = 10 * time.Millisecond
	l := listen(t, cfg, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	}, func() {})
	go func() {
		<-arrived
		l.cancel()
	}()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if response, err := (&http.Client{Transport: &http.Transport{}}).Do(r); err == nil {
		_ = response.Body.Close()
		t.Errorf("got %s, want the connection cut", response.Status)
	}
	if err := sandboxtest.Receive(t, "the end of the server", l.done); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestSlowClientsAreCutOff(t *testing.T) {
	t.Parallel()
	cfg := usual
	cfg.ReadTimeout = 300 * time.Millisecond // of headers, too
	l := listen(t, cfg, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
	}, func() {})
	for name, sent := range map[string]string{
		"nothing":        "",
		"half a header":  "POST / HTTP/1.1\r\nHost: a\r\nX-Slow: ",
		"half a body":    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{",
		"endless header": "POST / HTTP/1.1\r\nHost: a\r\nX-Long: " + strings.Repeat("a", 64<<10),
	} {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, sent); err != nil {
			t.Logf("%s: %v", name, err) // it was cut while it was sending
		}
		if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(bufio.NewReader(conn))
		if nerr, ok := err.(net.Error); ok && nerr.Timeout() { //nolint:errorlint // as the connection returns it
			t.Errorf("%s: the connection is still open; answered %q", name, answer)
		}
		if strings.Contains(string(answer), " 200 ") {
			t.Errorf("%s: got %q", name, answer)
		}
		_ = conn.Close()
	}
}

func TestServeWithACertificateThatIsReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := usual
	cfg.TLSCertificateFile, cfg.TLSKeyFile = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	cfg.Listen = "127.0.0.1:0"
	if err := httpapi.Serve(t.Context(), cfg, slog.New(slog.DiscardHandler), nil, func(net.Addr) {},
		func() {}); err == nil ||
		!strings.Contains(err.Error(), "serve.tls_certificate_file") {
		t.Errorf("without the files: got %v", err)
	}
	writeCertificate(t, cfg, 1)
	l := listen(t, cfg, func(http.ResponseWriter, *http.Request) {}, func() {})
	serial := func() string {
		conn, err := (&tls.Dialer{Config: &tls.Config{
			InsecureSkipVerify: true, //nolint:gosec // it is checked, not trusted
			NextProtos:         []string{"h2"},
		}}).DialContext(t.Context(), "tcp",
			l.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		state := conn.(*tls.Conn).ConnectionState() //nolint:errcheck,forcetypeassert // a tls.Dialer makes no other
		if state.NegotiatedProtocol != "h2" || state.Version < tls.VersionTLS12 {
			t.Errorf("got %q over %x", state.NegotiatedProtocol, state.Version)
		}
		return state.PeerCertificates[0].SerialNumber.String()
	}
	if got := serial(); got != "1" {
		t.Errorf("got certificate %s", got)
	}
	if err := os.WriteFile(cfg.TLSCertificateFile, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := serial(); got != "1" {
		t.Errorf("while it is being written: got certificate %s, want the one before", got)
	}
	writeCertificate(t, cfg, 2)
	sandboxtest.Eventually(t, "the new certificate is used", func() bool { return serial() == "2" })
}

// writeCertificate makes a certificate for itself.
func writeCertificate(t *testing.T, cfg config.Serve, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"certpurge"},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{
		cfg.TLSCertificateFile: {Type: "CERTIFICATE", Bytes: certificate},
		cfg.TLSKeyFile:         {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAPortThatIsTaken(t *testing.T) {
	t.Parallel()
	l := listen(t, usual, func(http.ResponseWriter, *http.Request) {}, func() {})
	cfg := usual
	cfg.Listen = l.address
	if err := httpapi.Serve(t.Context(), cfg, slog.New(slog.DiscardHandler), nil, nil, nil); err == nil ||
		!strings.Contains(fmt.Sprint(err), "serve.listen") {
		t.Errorf("got %v", err)
	}
}
