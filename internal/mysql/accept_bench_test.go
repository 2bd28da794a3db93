package mysql_test

import (
	"fmt"
	"testing"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
)

// BenchmarkAccept writes requests to the ledger: an operation is one call.
func BenchmarkAccept(b *testing.B) {
	for _, n := range []purge.UserID{1, 500} {
		for _, known := range []bool{false, true} {
			name := fmt.Sprintf("new=%d", n)
			if known {
				name = fmt.Sprintf("known=%d", n)
			}
			b.Run(name, func(b *testing.B) {
				f := newFixture(b, lms.UTF8MB4)
				first := purge.UserID(1)
				calls, server := 0, f.serverTime()
				for b.Loop() {
					if _, err := f.Accept(b.Context(), submissionsOf(first, first+n-1)); err != nil {
						b.Fatal(err)
					}
					if !known {
						first += n
					}
					calls++
				}
				b.ReportMetric(float64(calls)*float64(n)/b.Elapsed().Seconds(), "requests/s")
				b.ReportMetric(float64((f.serverTime()-server).Microseconds())/float64(calls)/float64(n), "server-µs/request")
			})
		}
	}
}
