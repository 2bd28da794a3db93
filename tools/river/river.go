package riverbench

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/sandbox/bench"
)

// jobs is River's tables in a database of its own.
type jobs struct {
	pool   *pgxpool.Pool
	client *river.Client[pgx.Tx] // inserts only
}

var databases atomic.Int64

// newJobs makes a database for one measurement, and drops it afterwards.
func (p *postgres) newJobs(b *testing.B) *jobs {
	b.Helper()
	name := fmt.Sprintf("river_%d", databases.Add(1))
	p.exec(b, "CREATE DATABASE "+name)
	b.Cleanup(func() { p.exec(b, "DROP DATABASE "+name) })
	pool, err := pgxpool.New(b.Context(), p.dsn(name)+" pool_max_conns=16")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := migrator.Migrate(b.Context(), rivermigrate.DirectionUp, nil); err != nil {
		b.Fatal(err)
	}
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{Logger: quiet()})
	if err != nil {
		b.Fatal(err)
	}
	return &jobs{pool: pool, client: client}
}

// exec runs a statement on the server.
func (p *postgres) exec(b *testing.B, statement string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout) // it may be a clean-up
	defer cancel()
	conn, err := pgx.Connect(ctx, p.dsn("postgres"))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, statement); err != nil {
		b.Fatalf("running %q: %v", statement, err)
	}
}

func (p *postgres) process() bench.Process { return bench.ServerProcess("postgres", p.pid) }

// quiet logs what should not happen.
func quiet() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// purgeArgs is the job of purging a user.
type purgeArgs struct {
	User purge.UserID `json:"user"`
}

func (purgeArgs) Kind() string { return "purge" }

// worker gives jobs to a purger.
type worker struct {
	river.WorkerDefaults[purgeArgs]

	purger queue.Purger
}

func (w *worker) Work(ctx context.Context, job *river.Job[purgeArgs]) error {
	_, err := w.purger.Purge(ctx, purge.Task{Request: purge.RequestID(job.ID), User: job.Args.User})
	return err
}

// way is the textbook's way on River: a job for each user in PostgreSQL, whose worker does what the textbook's does on
// asynq.
func (p *postgres) way(b *testing.B, cooldown time.Duration) *bench.Way {
	b.Helper()
	j := p.newJobs(b)
	return &bench.Way{
		Enqueue: func(b *testing.B, _ *bench.Site, users []purge.UserID) {
			b.Helper()
			for batch := range slices.Chunk(users, purge.MaxBatch) {
				j.insertMany(b, batch)
			}
		},
		Purger: bench.Textbook.Purger,
		Serve: func(b *testing.B, _ *bench.Site, concurrency int, purger queue.Purger) (stop func()) {
			b.Helper()
			return j.serve(b, concurrency, cooldown, purger)
		},
		Processes: []bench.Process{p.process()},
	}
}

func (j *jobs) insertMany(b *testing.B, users []purge.UserID) {
	b.Helper()
	params := make([]river.InsertManyParams, len(users))
	for i, user := range users {
		params[i] = river.InsertManyParams{Args: purgeArgs{user}}
	}
	if _, err := j.client.InsertManyFast(b.Context(), params); err != nil {
		b.Fatal(err)
	}
}

// serve works on jobs until stop, after which all must be completed.
func (j *jobs) serve(b *testing.B, concurrency int, cooldown time.Duration, purger queue.Purger) (stop func()) {
	b.Helper()
	workers := river.NewWorkers()
	river.AddWorker(workers, &worker{purger: purger})
	client, err := river.NewClient(riverpgxv5.New(j.pool), &river.Config{
		FetchCooldown: cooldown, Logger: quiet(), Workers: workers,
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: concurrency}},
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := client.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	return func() {
		if err := client.Stop(b.Context()); err != nil {
			b.Fatal(err)
		}
		if left := j.count(b, "WHERE state <> 'completed'"); left > 0 {
			b.Fatalf("%d jobs are not completed", left)
		}
	}
}

// count counts jobs.
func (j *jobs) count(b *testing.B, where string) int {
	b.Helper()
	var n int
	if err := j.pool.QueryRow(b.Context(), "SELECT COUNT(*) FROM river_job "+where).Scan(&n); err != nil {
		b.Fatal(err)
	}
	return n
}
