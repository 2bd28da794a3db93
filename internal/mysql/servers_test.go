package mysql_test

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
	"github.com/certpurge/certpurge/internal/sandbox"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// TestWhatTheServerAnswers has a real server give each answer, by a trigger.
func TestWhatTheServerAnswers(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	attempt := f.begun()
	for _, tc := range []struct {
		number  int
		message string
		want    purge.Class
		parts   []string
	}{
		{1040, "Too many connections", purge.Unavailable, []string{"1040", "Too many connections"}},
		{
			1203, "User certpurge already has more than 'max_user_connections' active connections", purge.Unavailable,
			[]string{"1203", "max_user_connections"},
		},
		{
			1226, "User 'certpurge' has exceeded the 'max_questions' resource (current value: 9)", purge.Unavailable,
			[]string{"1226", "max_questions"},
		},
		{1047, "WSREP has not yet prepared node for application use", purge.Unavailable, []string{"1047", "WSREP"}},
		{
			1290, "The MySQL server is running with the --super-read-only option so it cannot execute this statement",
			purge.Unavailable,
			[]string{"1290", "--super-read-only"},
		},
		{1792, "Cannot execute statement in a READ ONLY transaction.", purge.Unavailable, []string{"1792", "READ ONLY"}},
		{1836, "Running in read-only mode", purge.Unavailable, []string{"1836", "read-only mode"}},
		{3032, "The server is currently in offline mode", purge.Unavailable, []string{"3032", "offline mode"}},
		{3100, "Error on observer while running replication hook 'before_commit'.", purge.Unavailable, []string{"3100"}},
		{2013, "Lost connection to server during query", purge.Unavailable, []string{"2013"}},
		{9001, "Max connect timeout reached while reaching hostgroup 0 after 10000ms", purge.Unavailable, []string{
			"9001",
			"hostgroup 0",
		}},
		{
			9006, "ProxySQL Error: connection is locked to hostgroup 0 but trying to reach hostgroup 1", purge.Unavailable,
			[]string{"9006", "hostgroup 1", "a rule of ProxySQL"},
		},
		{
			1064, "You have an error in your SQL syntax near 'jane@example.org'", purge.Misconfigured,
			[]string{"1064", "several statements"},
		},
		{1205, "Lock wait timeout exceeded; try restarting transaction", purge.Transient, []string{"1205", "held a lock"}},
		{1213, "Deadlock found when trying to get lock", purge.Transient, []string{"1213"}},
		{1062, "Duplicate entry 'jane@example.org' for key", purge.Transient, []string{"1062"}},
	} {
		f.exec("CREATE TRIGGER " + f.db.Ledger + ".answer BEFORE UPDATE ON " + f.db.Ledger +
			".requests FOR EACH ROW SIGNAL SQLSTATE 'HY000'" +
			fmt.Sprintf(" SET MYSQL_ERRNO = %d, MESSAGE_TEXT = '%s'", tc.number, strings.ReplaceAll(tc.message, "'", "''")))
		_, err := f.Begin(t.Context(), attempt.Task)
		f.exec("DROP TRIGGER " + f.db.Ledger + ".answer")
		if got := purge.ClassOf(err); err == nil || got != tc.want {
			t.Errorf("%d: got class %d of %v, want %d", tc.number, got, err, tc.want)
			continue
		}
		for _, part := range tc.parts {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%d: got %q, want it to hold %q", tc.number, err, part)
			}
		}
		if tc.want == purge.Transient && strings.Contains(err.Error(), "cannot be") || strings.Contains(err.Error(),
			"example.org") {
			t.Errorf("%d: got %q", tc.number, err)
		}
	}
	if _, err := f.Begin(t.Context(), attempt.Task); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// connections are the ids of the enqueuer's connections that the server has.
func (f *fixture) connections() []int {
	f.t.Helper()
	rows, err := f.db.Root.QueryContext(f.t.Context(),
		"SELECT id FROM information_schema.processlist WHERE db = ? AND user = ?", f.db.Ledger, f.accounts.Enqueuer.Name)
	if err != nil {
		f.t.Fatal(err)
	}
	defer rows.Close()
	var ids []int
	for rows.Next() {
		var id int
		if err := rows.Scan(&id); err != nil {
			f.t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		f.t.Fatal(err)
	}
	return ids
}

// TestAReadOnlyServerIsNamedAndLeft: the old primary after a failover. Its reason is shown, and its connections are
// not used again.
func TestAReadOnlyServerIsNamedAndLeft(t *testing.T) {
	t.Parallel()
	f := newFixtureOn(t, sandboxtest.On(t, sandboxtest.OwnServers(t).MySQL, lms.UTF8MB4))
	f.begun()
	before := f.connections() // at least one: begun accepts a request
	f.exec("SET GLOBAL read_only = 1")
	user := f.NewUser(purgetest.Retiring)
	submission := []purge.Submission{{User: user, Key: purge.DefaultKey(user), Source: purge.SourceCLI}}
	_, err := f.Accept(t.Context(), submission)
	if purge.ClassOf(err) != purge.Unavailable || !strings.Contains(err.Error(), "1290") ||
		!strings.Contains(err.Error(), "--read-only") {
		t.Errorf("got %v, want the server's reason", err)
	}
	f.exec("SET GLOBAL read_only = 0")
	if _, err := f.Accept(t.Context(), submission); err != nil {
		t.Errorf("writable again: %v", err)
	}
	for _, id := range f.connections() {
		if slices.Contains(before, id) {
			t.Errorf("connection %d was used again", id)
		}
	}
}

// TestTooManyConnections: the answer comes before the login, without an SQLSTATE.
func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	f := newFixtureOn(t, sandboxtest.On(t, sandboxtest.OwnServers(t).MySQL, lms.UTF8MB4))
	f.exec("SET GLOBAL max_connections = 10") // the least that there is
	var held []*sql.Conn
	defer func() {
		for _, conn := range held {
			_ = conn.Close() // nothing was done on it
		}
	}()
	for range 10 {
		conn, err := f.db.Root.Conn(t.Context())
		if err != nil {
			break // all are taken
		}
		held = append(held, conn)
	}
	err := f.open(f.dsn()).Ping(t.Context())
	if purge.ClassOf(err) != purge.Unavailable || !strings.Contains(err.Error(), "1040") ||
		strings.ContainsAny(err.Error(), "\x00") {
		t.Errorf("got %q, want an unavailable server, in plain text", err)
	}
}

// oneStatement is a connection whose client does not say that it sends several statements in one packet.
type oneStatement struct {
	net.Conn

	once sync.Once
}

func (c *oneStatement) Write(b []byte) (int, error) {
	c.once.Do(func() { // the answer to the greeting; the flag is the 17th of its capabilities
		b = slices.Clone(b)
		b[6] &^= 1
	})
	return c.Conn.Write(b)
}

// TestAProxyThatTakesOneStatementAtATime, as ProxySQL with mysql-client_multi_statements=false.
func TestAProxyThatTakesOneStatementAtATime(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	store := f.open(f.dsn(), func(c *mysql.Config) {
		c.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			return &oneStatement{Conn: conn}, err
		}
	})
	err := store.Check(t.Context())
	if purge.ClassOf(err) != purge.Misconfigured || !strings.Contains(err.Error(), "several statements in one packet") {
		t.Errorf("got %v, want what the proxy lacks", err)
	}
}

// TestALockThatIsHeldIsNoOutage: the wait for a row ends before the connection is taken for a broken one.
func TestALockThatIsHeldIsNoOutage(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	attempt := f.begun()
	tx, err := f.db.Root.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback() //nolint:errcheck // it only holds a lock
	if _, err := tx.ExecContext(t.Context(), "UPDATE "+f.db.Ledger+".requests SET updated_at = NOW(6) WHERE id = ?",
		attempt.Request); err != nil {
		t.Fatal(err)
	}
	store := f.open(f.dsn(), func(c *mysql.Config) { c.QueryTimeout = 12 * time.Second })
	_, err = store.Begin(t.Context(), attempt.Task)
	if purge.ClassOf(err) != purge.Transient || !strings.Contains(err.Error(), "1205") {
		t.Errorf("got %v, want a lock wait", err)
	}
}

// TestASmallServerTakesAUserOfManyFiles: max_allowed_packet is far below the size of one user's intents.
func TestASmallServerTakesAUserOfManyFiles(t *testing.T) {
	t.Parallel()
	f := newFixtureOn(t, sandboxtest.On(t, sandboxtest.OwnServers(t).MySQL, lms.UTF8MB4))
	f.exec("SET GLOBAL max_allowed_packet = 65536")
	// a session keeps the limit that it began with
	f.Store, f.enqueuer = f.open(f.dsn()), f.open(f.db.LedgerDSN(f.accounts.Enqueuer))
	attempt := f.begun()
	var report purge.Report
	for i := range 1500 {
		dir := purge.Directory{Bucket: "certs", Prefix: fmt.Sprintf("downloads/%032x/", i)}
		report.Proven = append(report.Proven, dir)
		report.Evidence = append(report.Evidence, purge.Evidence{
			CertificateID: 1, Table: purge.Live, Outcome: purge.Listed,
			Generation: purge.Generation{Directory: dir, Name: dir.Prefix + strings.Repeat("x'", 100), Number: int64(i + 1)},
		})
	}
	intended, err := f.Intend(t.Context(), attempt, report.Evidence, report.Proven)
	if err != nil || !intended.Retirement.Requested || len(intended.Emptied) != len(report.Proven) {
		t.Fatalf("got %+v and %d emptied, %v", intended.Retirement, len(intended.Emptied), err)
	}
	for i := range report.Evidence {
		report.Evidence[i].Outcome = purge.Erased
	}
	report.State = purge.Done
	recorded, err := f.Record(t.Context(), attempt, report)
	if err != nil || recorded.State != purge.Done || recorded.Counts.ObjectsErased != len(report.Evidence) {
		t.Errorf("got %+v, %v", recorded, err)
	}
}

func TestTLSWithAPrivateAuthority(t *testing.T) {
	t.Parallel()
	authority := sandboxtest.NewAuthority(t)
	certificate, key := authority.Issue(t, "server", "db.example")
	server := sandboxtest.OwnServersWith(t, sandbox.Options{
		MySQLArguments: []string{"--ssl-ca=" + authority.File, "--ssl-cert=" + certificate, "--ssl-key=" + key},
	}).MySQL
	db := sandboxtest.On(t, server, lms.UTF8MB4)
	user, password := db.AddAccount(t)
	db.Exec(t, "ALTER USER '"+user+"'@'%' REQUIRE X509")
	certificate, key = authority.Issue(t, "client")
	all := config.TLS{
		CAFile: authority.File, CertificateFile: certificate, KeyFile: key, ServerName: "db.example",
	}
	ping := func(encryption config.TLS) error {
		store, err := mysql.Open(mysql.Config{
			MySQL: config.MySQL{
				DSN: config.NewSecret(server.DSN(user, password, "")), ConnectTimeout: 5 * time.Second,
				TLS: encryption,
			},
			LMS: config.LMS{Database: db.LMS},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		return store.Ping(ctx)
	}
	if err := ping(all); err != nil {
		t.Errorf("all is given: %v", err)
	}
	for name, encryption := range map[string]config.TLS{
		"unknown authority":     {ServerName: "db.example", CertificateFile: certificate, KeyFile: key},
		"another name":          {CAFile: authority.File, CertificateFile: certificate, KeyFile: key}, // 127.0.0.1
		"no client certificate": {CAFile: authority.File, ServerName: "db.example"},
		"no TLS":                {},
	} {
		if err := ping(encryption); purge.ClassOf(err) != purge.Misconfigured {
			t.Errorf("%s: got %v, want a misconfiguration", name, err)
		}
	}
}
