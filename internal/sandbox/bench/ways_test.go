package bench_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/storage" //nolint:depguard // the others' ways use the library as its manual does
	"google.golang.org/api/option"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
)

// BenchmarkWays compares three ways on the same site. The textbook's: a task for each user, its certificates and their
// objects one after the other by the names they should have, then an UPDATE; no generations, no proof, no evidence. The
// operator's: a loop over all objects, then one UPDATE, as the LMS's own command does it.
func BenchmarkWays(b *testing.B) {
	latency := 10 * time.Millisecond
	if full() {
		latency = 40 * time.Millisecond
	}
	for _, certificates := range []int{1, 3} {
		l := load{latency: latency, concurrency: 50, certificates: certificates}.forAbout(2 * time.Second)
		inTurn := l
		inTurn.textbook = true
		name := fmt.Sprintf("certificates=%d/", certificates)
		b.Run(name+"ours", func(b *testing.B) { measure(b, newSite(b), l) })
		b.Run(name+"textbook", func(b *testing.B) { measure(b, newSite(b), inTurn) })
		b.Run(name+"operator", func(b *testing.B) {
			s, alone := newSite(b), load{latency: latency, concurrency: 1, certificates: certificates, users: 30}
			var f figures
			for b.Loop() {
				f.add(s.operate(b, alone))
			}
			f.report(b, alone)
		})
	}
}

// others is what the other ways have: the library's client and a pool of connections.
type others struct {
	site    *site
	objects *storage.BucketHandle
	db      *sql.DB
}

func newOthers(b *testing.B, s *site, connections int) *others {
	b.Helper()
	network := &http.Transport{MaxIdleConns: connections, MaxIdleConnsPerHost: connections}
	b.Cleanup(network.CloseIdleConnections)
	client, err := storage.NewClient(b.Context(), option.WithHTTPClient(&http.Client{Transport: network}),
		option.WithEndpoint(s.storage.base))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = client.Close() }) // nothing to lose
	db, err := sql.Open("mysql", s.db.RootDSN(s.db.LMS)+"?interpolateParams=true")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() }) // nothing to lose
	db.SetMaxIdleConns(32)
	db.SetMaxOpenConns(32)
	return &others{site: s, objects: client.Bucket(bucket), db: db}
}

// remove deletes the objects that the certificates of a query's rows should have, one after the other.
func (o *others) remove(ctx context.Context, query string, args ...any) error {
	o.site.packets.Add(1)
	rows, err := o.db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var download, verify string
		if err := rows.Scan(&download, &verify); err != nil {
			return err
		}
		cert := "cert/" + verify + "/"
		names = append(names, "downloads/"+download+"/Certificate.pdf", cert+"Certificate.pdf.sig", cert+"valid.html",
			cert+"verify.html")
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, name := range names {
		if err := o.objects.Object(name).Delete(ctx); err != nil && !errors.Is(err, storage.ErrObjectNotExist) {
			return err
		}
	}
	return nil
}

func (o *others) clear(ctx context.Context, where string, args ...any) error {
	o.site.packets.Add(1)
	_, err := o.db.ExecContext(ctx, "UPDATE "+lms.Certificates+" SET download_uuid = '', download_url = '' WHERE "+where,
		args...)
	return err
}

const idsOf = "SELECT download_uuid, verify_uuid FROM " + lms.Certificates + " WHERE "

// byTheBook is the textbook's purger.
type byTheBook struct{ *others }

func textbook(b *testing.B, s *site, l load) queue.Purger {
	b.Helper()
	return byTheBook{newOthers(b, s, l.concurrency)}
}

func (t byTheBook) Purge(ctx context.Context, task purge.Task) (purge.Result, error) {
	if err := t.remove(ctx, idsOf+"user_id = ? AND download_uuid <> ''", task.User); err != nil {
		return purge.Result{}, err
	}
	return purge.Result{State: purge.Done}, t.clear(ctx, "user_id = ?", task.User)
}

// enqueue puts a task for each user into the queue, without a ledger.
func (s *site) enqueue(b *testing.B, users []purge.UserID) {
	b.Helper()
	tasks := make([]purge.Task, len(users))
	for i, user := range users {
		tasks[i] = purge.Task{Request: purge.RequestID(user), User: user}
	}
	if err := s.tasks().Enqueue(b.Context(), tasks); err != nil {
		b.Fatal(err)
	}
}

// operate purges as an operator does by hand.
func (s *site) operate(b *testing.B, l load) figures {
	b.Helper()
	s.storage.order(b, "latency", nil)
	users := s.add(b, l.users, l.certificates)
	s.storage.order(b, "latency", map[string]int{"ms": int(l.latency.Milliseconds())})
	o := newOthers(b, s, 1)
	ids := strings.TrimSuffix(strings.Repeat("?, ", len(users)), ", ")
	args := make([]any, len(users))
	for i, user := range users {
		args[i] = user
	}
	begun, packets, cpu := time.Now(), s.packets.Load(), processorTime()
	err := o.remove(b.Context(), idsOf+"user_id IN ("+ids+")", args...)
	if err == nil {
		err = o.clear(b.Context(), "user_id IN ("+ids+")", args...)
	}
	if err != nil {
		b.Fatal(err)
	}
	f := figures{
		users: l.users, objects: l.users * l.certificates * filesEach, took: time.Since(begun), cpu: processorTime() - cpu,
		packets: s.packets.Load() - packets,
	}
	if left := s.left(b, false); left > 0 {
		b.Fatalf("%d references and objects are left", left)
	}
	return f
}
