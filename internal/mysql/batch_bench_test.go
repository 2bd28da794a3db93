package mysql_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
)

// BenchmarkSteps measures each step of an attempt for batches of several sizes: what a user costs the server in processor
// time (server-µs/user; without /proc it is missing), and here.
func BenchmarkSteps(b *testing.B) {
	for _, size := range []int{1, 4, 16, 64} {
		f := newFixture(b, lms.UTF8MB4)
		if err := f.WalkOwners(b.Context(), time.Hour, func(mysql.Walk) {}); err != nil {
			b.Fatal(err)
		}
		made := 0
		var calls []mysql.Call
		refill := func(n int) {
			b.StopTimer()
			calls = nil
			for range n {
				made++
				calls = append(calls, f.purgeable(made))
			}
			b.StartTimer()
		}
		step := func(name string, before, do func(calls []mysql.Call)) {
			b.Run(fmt.Sprintf("batch=%d/%s", size, name), func(b *testing.B) {
				var server time.Duration
				users := 0
				for b.Loop() {
					b.StopTimer()
					refill(size)
					before(calls)
					at := f.serverTime()
					b.StartTimer()
					do(calls)
					b.StopTimer()
					server += f.serverTime() - at
					users += size
					b.StartTimer()
				}
				b.ReportMetric(float64(server.Microseconds())/float64(users), "server-µs/user")
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(users), "µs/user")
				b.ReportMetric(0, "ns/op")
			})
		}
		nothing := func([]mysql.Call) {}
		begin := func(calls []mysql.Call) {
			for i, a := range f.BeginAll(b.Context(), calls...) {
				calls[i].Attempt = a.Value
			}
		}
		intend := func(calls []mysql.Call) { f.IntendAll(b.Context(), calls...) }
		step("claim", nothing, begin)
		step("user", nothing, func(calls []mysql.Call) {
			var ids []purge.UserID
			for _, c := range calls {
				ids = append(ids, c.Task.User)
			}
			f.UserAll(b.Context(), ids...)
		})
		step("sharing", nothing, func(calls []mysql.Call) {
			var ids []purge.UserID
			var names [][]string
			for _, c := range calls {
				ids, names = append(ids, c.Task.User), append(names, []string{c.Report.Clear[0].References[0].DownloadUUID, idV})
			}
			f.SharingAll(b.Context(), ids, names)
		})
		step("intend", begin, intend)
		step("record", func(calls []mysql.Call) { begin(calls); intend(calls) }, func(calls []mysql.Call) {
			for _, a := range f.RecordAll(b.Context(), calls...) {
				if a.Err != nil || a.Value.State != purge.Done {
					b.Fatalf("got %+v", a)
				}
			}
		})
	}
}

type benchCall struct{ mysql.Call }

// purgeable is a call about a new user with one certificate and four files.
func (f *fixture) purgeable(i int) mysql.Call {
	f.t.Helper()
	c := benchCall{mysql.Call{Task: f.submitted()}}
	id := fmt.Sprintf("%032x", i)
	ref := f.NewReference(c.Task.User, purge.Live, id, idV, "https://storage.googleapis.com/certs/downloads/"+id+"/C.pdf")
	c.purges(ref, id)
	return c.Call
}

// purges makes the intents and the report of an attempt that erases four files of a reference.
func (c *benchCall) purges(ref purge.Reference, id string) {
	c.Report = purge.Report{State: purge.Done, Certificates: 1, Clear: []purge.Clearing{
		{CertificateID: ref.CertificateID, Table: ref.Table, References: []purge.Reference{ref}},
	}}
	for _, prefix := range []string{"downloads/" + id + "/", "cert/" + id + "/"} {
		dir := purge.Directory{Bucket: "certs", Prefix: prefix}
		c.Report.Proven = append(c.Report.Proven, dir)
		for n := range 2 {
			at := time.Now()
			c.Report.Listings = append(c.Report.Listings, purge.Listing{Directory: dir, Began: at, Ended: at, Generations: 2 - 2*n})
			e := purge.Evidence{
				CertificateID: ref.CertificateID, Table: ref.Table, Outcome: purge.Listed,
				Generation: purge.Generation{
					Directory: dir, Name: fmt.Sprintf("%sfile%d.html", prefix, n), Number: 1_700_000_000_000_000, Size: 1000,
				},
			}
			c.Intents = append(c.Intents, e)
			e.Outcome = purge.Erased
			c.Report.Evidence = append(c.Report.Evidence, e)
		}
	}
}

// serverTime is the processor time that the server has used; 0 if that cannot be read.
func (f *fixture) serverTime() time.Duration {
	var pidFile, data string
	if f.db.Root.QueryRow("SELECT @@pid_file, @@datadir").Scan(&pidFile, &data) != nil { //nolint:noctx // a benchmark
		return 0
	}
	if !filepath.IsAbs(pidFile) {
		pidFile = filepath.Join(data, pidFile)
	}
	pid, err := os.ReadFile(pidFile)
	if err != nil {
		return 0
	}
	var sum time.Duration
	tasks, _ := filepath.Glob("/proc/" + strings.TrimSpace(string(pid)) + "/task/*/schedstat")
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			continue
		}
		ns, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
		if err == nil {
			sum += time.Duration(ns)
		}
	}
	return sum
}
