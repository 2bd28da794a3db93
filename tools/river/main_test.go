package riverbench

import (
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/certpurge/certpurge/internal/sandbox/bench"
)

func TestMain(m *testing.M) {
	code := bench.Main(m)
	if shared.server != nil {
		shared.server.stop()
	}
	os.Exit(code)
}

// shared is the server of all benchmarks.
var shared struct {
	once   sync.Once
	server *postgres
	err    error
}

func server(b *testing.B) *postgres {
	b.Helper()
	shared.once.Do(func() { shared.server, shared.err = startPostgres(b.Context()) })
	if shared.err != nil {
		b.Fatal(shared.err)
	}
	return shared.server
}

// rounds is how often each side is measured.
func rounds(b *testing.B) int {
	b.Helper()
	text := os.Getenv("BENCH_ROUNDS")
	if text == "" {
		return 3
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		b.Fatalf("BENCH_ROUNDS: expected a number above 0, got %q", text)
	}
	return n
}
