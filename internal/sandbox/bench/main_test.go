package bench_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) {
	if os.Getenv(beStorage) != "" {
		if err := serveStorage(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "storage emulator:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(sandboxtest.Main(m))
}

// full says whether to run the whole tables.
func full() bool { return os.Getenv("BENCH_FULL") != "" }

// extraUsers is one more number of users for the growth; 0 for none.
func extraUsers(b *testing.B) int {
	b.Helper()
	text := os.Getenv("BENCH_USERS")
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		b.Fatalf("BENCH_USERS: expected a number, got %q", text)
	}
	return n
}
