package riverbench

import (
	"fmt"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/sandbox/bench"
)

// BenchmarkPurge purges users with certpurge, with the textbook's way on asynq, and with the textbook's way on River, at
// 40 ms for each call to the bucket and 50 users at a time.
func BenchmarkPurge(b *testing.B) {
	for _, certificates := range []int{1, 3} {
		load := bench.Load{Latency: 40 * time.Millisecond, Concurrency: 50, Certificates: certificates}
		load = load.ForAbout(2 * time.Second / time.Duration(certificates))
		// The way is made for each measurement: on River it has a database of its own.
		purge := func(way func(*testing.B) *bench.Way) func(*testing.B) metrics {
			return func(b *testing.B) metrics {
				b.Helper()
				load := load
				load.Way = way(b)
				f := bench.NewSite(b).Run(b, load)
				m := metrics{"users/s": f.UsersPerSecond(), "other-cores": f.Used.OtherCores(f.Machine, f.Took)}
				for name, ms := range f.Used.Each(f.Users) {
					m["ms-"+name+"/user"] = ms
				}
				return m
			}
		}
		compare(b, fmt.Sprintf("certificates=%d", certificates), []side{
			{"ours", purge(func(*testing.B) *bench.Way { return bench.Ours })},
			{"asynq", purge(func(*testing.B) *bench.Way { return bench.Textbook })},
			{"river", purge(onRiver(0))},
			{"river-10ms", purge(onRiver(10 * time.Millisecond))},
		}, "users/s", "ms-cpu/user")
	}
}

// onRiver is the textbook's way on River with a time between two fetches of jobs; 0 is River's default, 100 ms.
func onRiver(cooldown time.Duration) func(*testing.B) *bench.Way {
	return func(b *testing.B) *bench.Way {
		b.Helper()
		return server(b).way(b, cooldown)
	}
}
