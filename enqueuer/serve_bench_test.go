package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/httpapi"
	"github.com/certpurge/certpurge/internal/httpapi/auth"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// allCallers admits every caller.
type allCallers struct{}

func (allCallers) Authenticate(*http.Request) (auth.Caller, error) {
	return auth.Caller{Name: "bench", Rights: auth.All}, nil
}
func (allCallers) Take(auth.Caller) time.Duration { return 0 }

// benchUsers is how many users the LMS has; each is requested once in a round.
const benchUsers = 100_000

// BenchmarkServe is how many single requests over HTTP the server takes, each durable in the ledger and in the queue
// before it is answered. "gathered" is the server as it is; "one by one" accepts each call by itself. Compare the two
// of one run. Client, server, MariaDB and Redis share the machine.
func BenchmarkServe(b *testing.B) {
	for _, callers := range []int{1, 64, 256} {
		for _, gathered := range []bool{false, true} {
			name := map[bool]string{false: "one by one", true: "gathered"}[gathered]
			b.Run(fmt.Sprintf("%s/callers=%d", name, callers), func(b *testing.B) { benchmarkServe(b, callers, gathered) })
		}
	}
}

func benchmarkServe(b *testing.B, callers int, gathered bool) {
	b.Helper()
	url := benchServer(b, gathered)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers}}
	defer client.CloseIdleConnections()
	var next atomic.Int64
	times := make([]time.Duration, b.N)
	b.ResetTimer()
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				begun := time.Now()
				if err := ask(b.Context(), client, url, n); err != nil {
					b.Error(err)
					return
				}
				times[n-1] = time.Since(begun)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	slices.Sort(times)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1000, "p99-ms")
}

// ask sends the n-th request.
func ask(ctx context.Context, client *http.Client, url string, n int64) error {
	body := `{"user_id": ` + strconv.FormatInt(n%benchUsers+1, 10) + `}`
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/requests", strings.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := client.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusAccepted {
		return fmt.Errorf("got %s", response.Status)
	}
	return nil
}

// benchServer serves with the composition of the command, on databases of its own.
func benchServer(b *testing.B, gathered bool) (url string) {
	b.Helper()
	db := sandboxtest.MySQL(b, lms.Mixed)
	db.Exec(b, "INSERT INTO "+db.LMS+"."+lms.Users+" (password, is_superuser, username, first_name, last_name, email, "+
		"is_staff, is_active, date_joined)"+
		" SELECT '!', 0, CONCAT('learner', seq), '', '', CONCAT('learner', seq, '@example.com'), 0, 1, '2015-01-01' FROM "+
		sandboxtest.Numbers(benchUsers))
	store, err := mysql.Open(mysql.Config{
		MySQL: config.MySQL{
			DSN: config.NewSecret(db.RootDSN(db.Ledger)), MaxOpenConnections: 32,
			ConnectTimeout: time.Second,
		},
		LMS: config.LMS{Database: db.LMS, ClearHistory: true},
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
	log := slog.New(slog.DiscardHandler)
	s := &service{process: &process{cfg: config.DefaultEnqueuer(), store: store, redis: rdb, log: log}}
	if s.registry, s.accepted, err = newMetrics(purge.SourceAPI); err != nil {
		b.Fatal(err)
	}
	api := s.newAPI(allCallers{}, allCallers{})
	if !gathered {
		api.Intake = purge.Intake{Requests: store, Tasks: queue.NewClient(rdb, queue.Live, s.cfg.Tasks)}
	}
	handler := api.Handler()
	ctx, cancel := context.WithCancel(b.Context())
	started, done := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		done <- httpapi.Serve(ctx, config.Serve{
			Listen: "127.0.0.1:0", ReadTimeout: time.Minute, DrainTimeout: time.Second,
		}, log, handler,
			func(a net.Addr) { started <- a }, api.Stop)
	}()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	return "http://" + (<-started).String()
}
