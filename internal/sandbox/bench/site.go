package bench

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// Site is an Open edX site with nothing but retiring users, and what a worker needs to purge them.
type Site struct {
	db        *sandboxtest.Database
	store     *mysql.Store
	redis     redis.UniversalClient
	redisURL  string
	storage   *emulator
	locations purge.Locations
	processes []Process
	users     int // so far

	packets, commands atomic.Int64 // to MySQL and to Redis
}

// NewSite makes a site on the servers of the test run, with a storage emulator of its own.
func NewSite(b *testing.B) *Site {
	b.Helper()
	s := &Site{db: sandboxtest.MySQL(b, lms.UTF8MB4), storage: startStorage(b)}
	var err error
	s.locations, err = purge.NewLocations([]purge.Location{{
		Name: "main", Bucket: bucket, DownloadsDir: "downloads",
		VerifyDir: "cert",
	}})
	if err != nil {
		b.Fatal(err)
	}
	s.store, err = mysql.Open(mysql.Config{
		MySQL: config.MySQL{
			DSN: config.NewSecret(s.db.RootDSN(s.db.Ledger)), MaxOpenConnections: 32, Batch: 16,
			ConnectTimeout: time.Minute, QueryTimeout: time.Minute,
		},
		LMS: config.LMS{Database: s.db.LMS, ClearHistory: true},
		DialFunc: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			return countingConn{conn, &s.packets}, err
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.store.Close() }) // nothing to lose
	if _, err := s.store.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	s.redisURL = sandboxtest.Redis(b)
	if s.redis, err = queue.NewRedis(config.Redis{URL: config.NewSecret(s.redisURL)}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.redis.Close() }) // nothing to lose
	s.redis.AddHook(countingHook{&s.commands})
	s.processes = s.findProcesses(b)
	return s
}

// countingConn counts what is written: the driver sends each command in one piece and waits for its answer.
type countingConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c countingConn) Write(b []byte) (int, error) { c.writes.Add(1); return c.Conn.Write(b) }

// countingHook counts the commands that are sent to Redis, each one of a pipeline.
type countingHook struct{ commands *atomic.Int64 }

func (countingHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h countingHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		h.commands.Add(1)
		return next(ctx, cmd)
	}
}

func (h countingHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, all []redis.Cmder) error {
		h.commands.Add(int64(len(all)))
		return next(ctx, all)
	}
}

// add adds n retiring users with some certificates each: a live row and a history row for each, and four files.
func (s *Site) add(b *testing.B, n, certificates int) []purge.UserID {
	b.Helper()
	first := s.users + 1
	s.users += n
	s.storage.order(b, "put", map[string]int{"from": first, "to": first + n, "certificates": certificates})
	var users []purge.UserID
	for from := first; from < first+n; from += 500 {
		to := min(from+500, first+n)
		for user := from; user < to; user++ {
			users = append(users, purge.UserID(user))
		}
		s.insert(b, lms.Users, "id, password, is_superuser, username, first_name, last_name, email, is_staff, is_active, "+
			"date_joined", from, to, 1,
			func(user, _ int) string {
				return fmt.Sprintf("%d, '!', 0, 'u%d', '', '', 'u%d@retired.invalid', 0, 1, '2015-01-01'", user, user, user)
			})
		s.insert(b, lms.RetirementRequest, "created, modified, user_id", from, to, 1,
			func(user, _ int) string { return fmt.Sprintf("'2026-01-01', '2026-01-01', %d", user) })
		const columns = "id, course_id, verify_uuid, download_uuid, download_url, grade, `key`, distinction, status, mode, " +
			"name, created_date," +
			" modified_date, error_reason, user_id"
		row := func(user, n int) string {
			return fmt.Sprintf(
				"%d, 'edX/C%d/2014', '%s', '%s', 'https://storage.googleapis.com/%s/downloads/%s/Certificate.pdf', '0.95', '', 0,"+
					" 'downloadable', 'honor', 'Ada', '2015-01-01', '2015-01-01', '', %d",
				user*16+n, n, verifyID(user, n), downloadID(user, n), bucket, downloadID(user, n), user)
		}
		s.insert(b, lms.Certificates, columns, from, to, certificates, row)
		s.insert(b, lms.History, columns+", history_date, history_type", from, to, certificates,
			func(user, n int) string { return row(user, n) + ", '2015-01-01', '+'" })
	}
	// As a worker does before it pulls tasks; else every purge would read all rows that are new.
	if err := s.store.WalkOwners(b.Context(), 24*time.Hour, func(mysql.Walk) {}); err != nil {
		b.Fatal(err)
	}
	return users
}

// insert adds rows of the users in one statement.
func (s *Site) insert(b *testing.B, table, columns string, from, to, each int, row func(user, n int) string) {
	b.Helper()
	var rows []string
	for user := from; user < to; user++ {
		for n := range each {
			rows = append(rows, "("+row(user, n)+")")
		}
	}
	s.db.Exec(b, "INSERT INTO "+s.db.LMS+"."+table+" ("+columns+") VALUES "+strings.Join(rows, ", "))
}

// accept accepts requests for the users and queues their tasks, as the enqueuer does.
func (s *Site) accept(b *testing.B, users []purge.UserID) {
	b.Helper()
	intake := s.Intake()
	for len(users) > 0 {
		n := min(500, len(users))
		submissions := make([]purge.Submission, n)
		for i, user := range users[:n] {
			submissions[i] = purge.Submission{User: user, Key: purge.DefaultKey(user), Source: purge.SourceBackfill}
		}
		if _, err := intake.Accept(b.Context(), submissions); err != nil {
			b.Fatal(err)
		}
		users = users[n:]
	}
}

// Intake is what accepts requests: a ledger and a queue.
func (s *Site) Intake() purge.Intake { return purge.Intake{Requests: s.store, Tasks: s.tasks()} }

func (s *Site) tasks() *queue.Client {
	return queue.NewClient(s.redis, queue.Backfill, config.Tasks{Timeout: 3 * time.Minute})
}

// left counts what should be gone: references and objects. Only our own way clears the links in the history.
func (s *Site) left(b *testing.B, history bool) int {
	b.Helper()
	left, err := strconv.Atoi(s.storage.order(b, "left", nil))
	if err != nil {
		b.Fatal(err)
	}
	tables := []string{lms.Certificates}
	if history {
		tables = append(tables, lms.History)
	}
	for _, table := range tables {
		var n int
		query := "SELECT COUNT(*) FROM " + s.db.LMS + "." + table + " WHERE download_uuid <> '' OR download_url <> ''"
		if err := s.db.Root.QueryRowContext(b.Context(), query).Scan(&n); err != nil {
			b.Fatal(err)
		}
		left += n
	}
	return left
}
