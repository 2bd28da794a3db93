package main

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// benchIntake is an intake on a ledger and a queue of the benchmark's own.
func benchIntake(b *testing.B) purge.Intake {
	b.Helper()
	db := sandboxtest.MySQL(b, lms.UTF8MB4)
	store, err := mysql.Open(mysql.Config{
		MySQL: config.MySQL{
			DSN: config.NewSecret(db.RootDSN(db.Ledger)), MaxOpenConnections: 16,
			ConnectTimeout: time.Minute,
		},
		LMS: config.LMS{Database: db.LMS},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close() })
	if _, err := store.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	rdb, err := queue.NewRedis(config.Redis{URL: config.NewSecret(sandboxtest.Redis(b))})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = rdb.Close() })
	return purge.Intake{Requests: store, Tasks: queue.NewClient(rdb, queue.Backfill, config.Tasks{Timeout: time.Minute})}
}

// BenchmarkIntake takes new users into ledger and queue; an operation is one user.
func BenchmarkIntake(b *testing.B) {
	callers := func(n int, gather bool) func(*testing.B, purge.Intake) {
		return func(b *testing.B, intake purge.Intake) {
			b.Helper()
			accept := intake.Accept
			if gather {
				accept = purge.NewGather(intake).Accept
			}
			var last atomic.Int64
			var wg sync.WaitGroup
			for range n {
				wg.Go(func() {
					for user := last.Add(1); user <= int64(b.N); user = last.Add(1) {
						if _, err := accept(b.Context(), []purge.Submission{submissionOf(purge.UserID(user))}); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
		}
	}
	stream := func(b *testing.B, intake purge.Intake) {
		b.Helper()
		batches := func(yield func([]purge.Submission) bool) {
			for user := 1; user <= b.N; user += purge.MaxBatch {
				var submissions []purge.Submission
				for n := user; n < user+purge.MaxBatch && n <= b.N; n++ {
					submissions = append(submissions, submissionOf(purge.UserID(n)))
				}
				if !yield(submissions) {
					return
				}
			}
		}
		if err := intake.Stream(b.Context(), batches, func(_ []purge.Accepted, err error) error { return err }); err != nil {
			b.Fatal(err)
		}
	}
	for _, way := range []struct {
		name string
		run  func(*testing.B, purge.Intake)
	}{
		{"callers=1", callers(1, false)},
		{"callers=32", callers(32, false)},
		{"gathered=1", callers(1, true)},
		{"gathered=64", callers(64, true)},
		{"gathered=256", callers(256, true)},
		{"stream", stream},
	} {
		b.Run(way.name, func(b *testing.B) {
			intake := benchIntake(b)
			b.ResetTimer()
			way.run(b, intake)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "users/s")
		})
	}
}

func submissionOf(user purge.UserID) purge.Submission {
	return purge.Submission{User: user, Key: purge.DefaultKey(user), Source: purge.SourceBackfill}
}
