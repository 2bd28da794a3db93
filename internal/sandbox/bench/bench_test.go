package bench

import (
	"fmt"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/config"
)

// BenchmarkPurge is the whole purge: from the task in Redis to the cleared links and the evidence.
func BenchmarkPurge(b *testing.B) {
	latencies, concurrencies := []int{0, 40}, []int{50}
	if full() {
		latencies, concurrencies = []int{0, 10, 40, 100}, []int{10, 50, 200}
	}
	for _, ms := range latencies {
		for _, concurrency := range concurrencies {
			b.Run(fmt.Sprintf("latency=%dms/concurrency=%d", ms, concurrency), func(b *testing.B) {
				l := Load{Latency: time.Duration(ms) * time.Millisecond, Concurrency: concurrency}
				measure(b, NewSite(b), l.ForAbout(2*time.Second))
			})
		}
	}
}

// BenchmarkLimits shows what the defaults of the worker's configuration allow, at 40 ms and 50 users at a time.
func BenchmarkLimits(b *testing.B) {
	base := Load{Latency: 40 * time.Millisecond, Concurrency: 50}
	cases := map[string]func(*Load){
		"none":              func(*Load) {},
		"max_in_flight=64":  func(l *Load) { l.InFlight = 64 },
		"max_in_flight=100": func(l *Load) { l.InFlight = 100 },
		"max_in_flight=64,delete_rate=1000": func(l *Load) {
			l.InFlight, l.Deletes, l.Reads = 64, config.Rate{Start: 1000, Ceiling: 4000},
				config.Rate{Start: 5000, Ceiling: 20_000}
		},
	}
	for name, change := range cases {
		b.Run(name, func(b *testing.B) {
			l := base.ForAbout(2 * time.Second)
			change(&l)
			measure(b, NewSite(b), l)
		})
	}
}

// BenchmarkGrowth purges more and more users, each number on a site of its own.
func BenchmarkGrowth(b *testing.B) {
	numbers := []int{500, 2_500}
	if full() {
		numbers = []int{1_000, 10_000}
	}
	if extra := extraUsers(b); extra > 0 {
		numbers = append(numbers, extra)
	}
	var first float64
	for _, users := range numbers {
		b.Run(fmt.Sprintf("users=%d", users), func(b *testing.B) {
			f := measure(b, NewSite(b), Load{Users: users, Concurrency: 50})
			each := f.Took.Seconds() / float64(f.Users)
			if first == 0 {
				first = each
			}
			b.ReportMetric(each/first, "of-first/user")
		})
	}
}

// measure runs the load and reports.
func measure(b *testing.B, s *Site, l Load) Figures {
	b.Helper()
	var f Figures
	for b.Loop() {
		f.add(s.Run(b, l))
	}
	f.report(b, l)
	return f
}
