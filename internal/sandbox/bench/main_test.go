package bench

import (
	"os"
	"strconv"
	"testing"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

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
