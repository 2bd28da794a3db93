package bench

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"testing"

	"cloud.google.com/go/storage" //nolint:depguard // the others' ways use the library as its manual does
	"google.golang.org/api/option"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
)

// Way is a way to purge users: what brings the tasks to the worker, and what the worker does.
type Way struct {
	// Enqueue puts a task for each user into the queue.
	Enqueue func(b *testing.B, s *Site, users []purge.UserID)
	// Purger makes what the worker works on tasks with.
	Purger func(b *testing.B, s *Site, l Load) queue.Purger
	// Serve gives the tasks of the queue to the purger until stop, which waits for those at work.
	Serve func(b *testing.B, s *Site, concurrency int, purger queue.Purger) (stop func())
	// ClearsHistory says that the way clears the links in the LMS's history too.
	ClearsHistory bool
	// Processes are those that this way needs besides those of every site.
	Processes []Process
}

// Ours is certpurge.
var Ours = &Way{
	Enqueue: func(b *testing.B, s *Site, users []purge.UserID) { b.Helper(); s.accept(b, users) },
	Purger:  ours, Serve: serve, ClearsHistory: true,
}

// Textbook is the textbook's way on asynq: a task for each user, its certificates and their objects one after the other
// by the names they should have, then an UPDATE; no ledger, no generations, no proof, no evidence.
var Textbook = &Way{
	Enqueue: func(b *testing.B, s *Site, users []purge.UserID) { b.Helper(); s.enqueue(b, users) },
	Purger:  textbook, Serve: serve,
}

func serve(b *testing.B, s *Site, concurrency int, purger queue.Purger) (stop func()) {
	b.Helper()
	return s.serve(b, concurrency, purger)
}

// others is what the other ways have: the library's client and a pool of connections.
type others struct {
	site    *Site
	objects *storage.BucketHandle
	db      *sql.DB
}

func newOthers(b *testing.B, s *Site, connections int) *others {
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
	const set = "UPDATE " + lms.Certificates + " SET download_uuid = '', download_url = '' WHERE "
	_, err := o.db.ExecContext(ctx, set+where, args...)
	return err
}

const idsOf = "SELECT download_uuid, verify_uuid FROM " + lms.Certificates + " WHERE "

// byTheBook is the textbook's purger.
type byTheBook struct{ *others }

func textbook(b *testing.B, s *Site, l Load) queue.Purger {
	b.Helper()
	return byTheBook{newOthers(b, s, l.Concurrency)}
}

func (t byTheBook) Purge(ctx context.Context, task purge.Task) (purge.Result, error) {
	if err := t.remove(ctx, idsOf+"user_id = ? AND download_uuid <> ''", task.User); err != nil {
		return purge.Result{}, err
	}
	return purge.Result{State: purge.Done}, t.clear(ctx, "user_id = ?", task.User)
}

// enqueue puts a task for each user into the queue, without a ledger.
func (s *Site) enqueue(b *testing.B, users []purge.UserID) {
	b.Helper()
	tasks := make([]purge.Task, len(users))
	for i, user := range users {
		tasks[i] = purge.Task{Request: purge.RequestID(user), User: user}
	}
	if err := s.tasks().Enqueue(b.Context(), tasks); err != nil {
		b.Fatal(err)
	}
}
