package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// BenchmarkKilled backfills with the real command, kills it three times in the middle, lets it go on each time, and
// waits for the last purge. Each user must have exactly one request, and all must be done.
func BenchmarkKilled(b *testing.B) {
	users := 4_000
	if full() {
		users = 100_000
	}
	binary, _ := sandboxtest.Binaries(b)
	for b.Loop() {
		s := NewSite(b)
		s.add(b, users, 1)
		l := Load{Concurrency: 50}
		stop := s.serve(b, l.Concurrency, ours(b, s, l))
		checkpoint := filepath.Join(b.TempDir(), "checkpoint.json")
		command := func(more ...string) *exec.Cmd {
			args := append([]string{"backfill", "--retired", "--execute", "--checkpoint", checkpoint}, more...)
			cmd := exec.CommandContext(b.Context(), binary, args...) //nolint:gosec // our own binary
			cmd.Env = []string{
				"CERTPURGE_MYSQL_DSN=" + s.db.RootDSN(s.db.Ledger), "CERTPURGE_LMS_DATABASE=" + s.db.LMS,
				"CERTPURGE_REDIS_URL=" + s.redisURL,
			}
			return cmd
		}
		for _, part := range []int{5, 3, 2} {
			cmd := command()
			if err := cmd.Start(); err != nil {
				b.Fatal(err)
			}
			look := time.NewTicker(time.Millisecond)
			for written(b, checkpoint) < users/part {
				<-look.C
			}
			look.Stop()
			if err := cmd.Process.Kill(); err != nil {
				b.Fatal(err)
			}
			if err := cmd.Wait(); err == nil || written(b, checkpoint) >= users {
				b.Fatalf("it was not killed in the middle: %v", err)
			}
		}
		if out, err := command("--wait").CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		stop()
		var requests, distinct, done int
		query := "SELECT COUNT(*), COUNT(DISTINCT user_id), SUM(state = 'done') FROM " + s.db.Ledger + ".requests"
		if err := s.db.Root.QueryRowContext(b.Context(), query).Scan(&requests, &distinct, &done); err != nil {
			b.Fatal(err)
		}
		if left := s.left(b, true); requests != users || distinct != users || done != users || left > 0 {
			b.Fatalf("got %d requests of %d users, %d done, and %d references and objects left; want %d of each, and "+
				"nothing left", requests, distinct, done, left, users)
		}
		b.ReportMetric(float64(done), "done")
	}
}

// written is how many users the checkpoint counts.
func written(b *testing.B, checkpoint string) int {
	b.Helper()
	content, err := os.ReadFile(checkpoint)
	match := regexp.MustCompile(`"users":(\d+)`).FindSubmatch(content)
	if err != nil || match == nil {
		return 0
	}
	n, err := strconv.Atoi(string(match[1]))
	if err != nil {
		b.Fatal(err)
	}
	return n
}
