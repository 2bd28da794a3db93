package bench_test

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
				l := load{latency: time.Duration(ms) * time.Millisecond, concurrency: concurrency}
				measure(b, newSite(b), l.forAbout(2*time.Second))
			})
		}
	}
}

// BenchmarkLimits shows what the defaults of the worker's configuration allow, at 40 ms and 50 users at a time.
func BenchmarkLimits(b *testing.B) {
	base := load{latency: 40 * time.Millisecond, concurrency: 50}
	cases := map[string]func(*load){
		"none":              func(*load) {},
		"max_in_flight=64":  func(l *load) { l.inFlight = 64 },
		"max_in_flight=100": func(l *load) { l.inFlight = 100 },
		"max_in_flight=64,delete_rate=1000": func(l *load) {
			l.inFlight, l.deletes, l.reads = 64, config.Rate{Start: 1000, Ceiling: 4000},
				config.Rate{Start: 5000, Ceiling: 20_000}
		},
	}
	for name, change := range cases {
		b.Run(name, func(b *testing.B) {
			l := base.forAbout(2 * time.Second)
			change(&l)
			measure(b, newSite(b), l)
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
			f := measure(b, newSite(b), load{users: users, concurrency: 50})
			each := f.took.Seconds() / float64(f.users)
			if first == 0 {
				first = each
			}
			b.ReportMetric(each/first, "of-first/user")
		})
	}
}

// forAbout chooses so many users that purging them takes about d, if nothing but the latency limits.
func (l load) forAbout(d time.Duration) load {
	l.users = 1000
	if l.latency > 0 {
		l.users = min(1000, max(2*l.concurrency, int(d.Seconds()*float64(l.concurrency)/(3*l.latency.Seconds()))))
	}
	return l
}

// measure runs the load and reports.
func measure(b *testing.B, s *site, l load) figures {
	b.Helper()
	var f figures
	for b.Loop() {
		f.add(s.run(b, l))
	}
	f.report(b, l)
	return f
}
