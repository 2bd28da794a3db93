package riverbench

import (
	"slices"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/bench"
)

const (
	inBulk   = 60_000 // requests of a measurement
	oneByOne = 2_000
)

// BenchmarkEnqueue accepts requests for new users: certpurge into its ledger and its queue, River into PostgreSQL.
func BenchmarkEnqueue(b *testing.B) {
	compare(b, "bulk", []side{
		{"ours", func(b *testing.B) metrics {
			b.Helper()
			return ours(b, inBulk, func(intake purge.Intake, submissions []purge.Submission) {
				batches := slices.Chunk(submissions, purge.MaxBatch)
				err := intake.Stream(b.Context(), batches, func(_ []purge.Accepted, err error) error { return err })
				if err != nil {
					b.Fatal(err)
				}
			})
		}},
		{"river", func(b *testing.B) metrics {
			b.Helper()
			return rivers(b, inBulk, func(j *jobs, users []purge.UserID) {
				for batch := range slices.Chunk(users, purge.MaxBatch) {
					j.insertMany(b, batch)
				}
			})
		}},
	}, "jobs/s", "µs-cpu/job")
	compare(b, "one-by-one", []side{
		{"ours", func(b *testing.B) metrics {
			b.Helper()
			return ours(b, oneByOne, func(intake purge.Intake, submissions []purge.Submission) {
				for one := range slices.Chunk(submissions, 1) {
					if _, err := intake.Accept(b.Context(), one); err != nil {
						b.Fatal(err)
					}
				}
			})
		}},
		{"river", func(b *testing.B) metrics {
			b.Helper()
			return rivers(b, oneByOne, func(j *jobs, users []purge.UserID) {
				for _, user := range users {
					if _, err := j.client.Insert(b.Context(), purgeArgs{user}, nil); err != nil {
						b.Fatal(err)
					}
				}
			})
		}},
	}, "jobs/s", "µs-cpu/job")
}

func usersUpTo(n int) []purge.UserID {
	users := make([]purge.UserID, n)
	for i := range users {
		users[i] = purge.UserID(i + 1)
	}
	return users
}

func ours(b *testing.B, n int, enqueue func(purge.Intake, []purge.Submission)) metrics {
	b.Helper()
	site := bench.NewSite(b)
	submissions := make([]purge.Submission, n)
	for i, user := range usersUpTo(n) {
		submissions[i] = purge.Submission{User: user, Key: purge.DefaultKey(user), Source: purge.SourceBackfill}
	}
	return measure(b, n, site, nil, func() { enqueue(site.Intake(), submissions) })
}

func rivers(b *testing.B, n int, enqueue func(*jobs, []purge.UserID)) metrics {
	b.Helper()
	postgres, users := server(b), usersUpTo(n)
	j, site := postgres.newJobs(b), bench.NewSite(b)
	m := measure(b, n, site, []bench.Process{postgres.process()}, func() { enqueue(j, users) })
	if got := j.count(b, ""); got != n {
		b.Fatalf("%d jobs were inserted, want %d", got, n)
	}
	return m
}

func measure(b *testing.B, n int, site *bench.Site, others []bench.Process, enqueue func()) metrics {
	b.Helper()
	begun, before, machine := time.Now(), site.Used(b, others...), bench.MachineTime()
	enqueue()
	took, used := time.Since(begun), site.Used(b, others...).Minus(before)
	m := metrics{
		"jobs/s": float64(n) / took.Seconds(), "other-cores": used.OtherCores(bench.MachineTime()-machine, took),
	}
	for name, ms := range used.Each(n) {
		m["µs-"+name+"/job"] = ms * 1000
	}
	return m
}
