package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

const (
	bucket = "certs"
	// beStorage is the variable that makes this test binary the storage emulator.
	beStorage = "CERTPURGE_BENCH_STORAGE"
)

// downloadID and verifyID are those of a user's n-th certificate, n below 16.
func downloadID(user, n int) string { return fmt.Sprintf("%032x", user<<4+n) }
func verifyID(user, n int) string   { return fmt.Sprintf("%032x", 1<<60+user<<4+n) }

// filesOf are the names of a certificate's objects.
func filesOf(user, n int) []string {
	cert := "cert/" + verifyID(user, n) + "/"
	return []string{
		"downloads/" + downloadID(user, n) + "/Certificate.pdf", cert + "Certificate.pdf.sig",
		cert + "valid.html", cert + "verify.html",
	}
}

const filesEach = 4

// serveStorage is the emulator's process. It says where it listens, for the service and for orders, and ends with its
// input.
func serveStorage(in io.Reader, out io.Writer) error {
	server := gcstest.New()
	server.CreateBucket(bucket, gcstest.BucketConfig{})
	base, stop, err := server.Start()
	if err != nil {
		return err
	}
	defer stop()
	orders := http.NewServeMux()
	number := func(r *http.Request, key string) int {
		n, _ := strconv.Atoi(r.FormValue(key)) // both sides are ours
		return n
	}
	orders.HandleFunc("POST /put", func(w http.ResponseWriter, r *http.Request) {
		for user := number(r, "from"); user < number(r, "to"); user++ {
			for n := range number(r, "certificates") {
				for _, name := range filesOf(user, n) {
					if _, err := server.Put(bucket, name, []byte("%PDF-1.7 personal"), gcstest.ObjectOptions{}); err != nil {
						http.Error(w, err.Error(), http.StatusInternalServerError)
						return
					}
				}
			}
		}
	})
	orders.HandleFunc("POST /latency", func(_ http.ResponseWriter, r *http.Request) {
		if ms := number(r, "ms"); ms > 0 {
			server.SetFaults(1, gcstest.Fault{Latency: time.Duration(ms) * time.Millisecond})
		} else {
			server.SetFaults(0)
		}
	})
	orders.HandleFunc("POST /left", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, len(server.Objects(bucket, "")))
	})
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	taking := &http.Server{Handler: orders, ReadHeaderTimeout: time.Minute}
	go func() { _ = taking.Serve(listener) }() // it ends when it is closed
	defer taking.Close()
	if _, err := fmt.Fprintf(out, "%s\nhttp://%s\n", base, listener.Addr()); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

// Main is sandboxtest.Main for a test binary that uses sites: it may be called to be the storage emulator.
func Main(m *testing.M) int {
	if os.Getenv(beStorage) == "" {
		return sandboxtest.Main(m)
	}
	if err := serveStorage(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "storage emulator:", err)
		return 1
	}
	return 0
}

// emulator is the storage emulator, seen from here.
type emulator struct {
	base, orders string
	pid          int
}

// startStorage starts the emulator in a process of its own, which ends with the benchmark or with this process.
func startStorage(b *testing.B) *emulator {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0]) //nolint:gosec // this very binary
	cmd.Env = append(os.Environ(), beStorage+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := errors.Join(in.Close(), cmd.Wait()); err != nil && b.Context().Err() == nil {
			b.Errorf("storage emulator: %v", err)
		}
	})
	lines := bufio.NewReader(out)
	line := func() string {
		text, err := lines.ReadString('\n')
		if err != nil {
			b.Fatalf("storage emulator: %v", err)
		}
		return strings.TrimSpace(text)
	}
	return &emulator{base: line(), orders: line(), pid: cmd.Process.Pid}
}

// order sends the emulator a command and returns its answer.
func (s *emulator) order(b *testing.B, what string, values map[string]int) string {
	b.Helper()
	form := url.Values{}
	for key, value := range values {
		form.Set(key, strconv.Itoa(value))
	}
	r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, s.orders+"/"+what+"?"+form.Encode(), http.NoBody)
	if err != nil {
		b.Fatal(err)
	}
	resp, err := (&http.Client{}).Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		b.Fatalf("storage emulator: %s: %s %s, %v", what, resp.Status, text, err)
	}
	return string(text)
}
