package gcs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/storage"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/purge"
)

// Config says how a Store talks to Google Cloud Storage.
type Config struct {
	config.GCS // limits of zero mean: a million generations, a listing of 1 GiB, and no bound of a rate

	Locations purge.Locations // the only directories that the store will touch
	// Environ is the process environment. The client library obeys GOOGLE_APPLICATION_CREDENTIALS and
	// STORAGE_EMULATOR_HOST by itself; they are read here to say where credentials were found, and to refuse an emulator
	// without gcs.allow_emulator.
	Environ   []string
	Now       func() time.Time
	Log       *slog.Logger      // of changed rates; nil for none
	Observe   Observe           // called for every request; may be nil
	Trace     Trace             // follows every request; may be nil
	Transport http.RoundTripper // replaces the network and the credentials; nil for the ordinary ones

	// Tests set these, because what gathers depends on the scheduler.
	gather   func() // called by a delete that waits for others; nil: runtime.Gosched
	minBatch int    // deletes that make a batch; 0: two
}

// variable returns the value of an environment variable.
func (cfg Config) variable(name string) (value string) {
	for _, entry := range cfg.Environ {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			value = v
		}
	}
	return value
}

const emulatorVariable = "STORAGE_EMULATOR_HOST"

// Store lists and deletes the objects of certificates. It is safe for concurrent use. One for a process is enough.
type Store struct {
	cfg     Config
	client  *storage.Client
	closeTx func() // closes the idle connections, which closing the client leaves open
	buckets map[string]*bucket
	account account
	clock   *clock
}

// Open makes a Store. It sends no request yet; Probe does.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.variable(emulatorVariable) != "" && !cfg.AllowEmulator {
		return nil, &purge.Error{Class: purge.Misconfigured, Text: emulatorVariable + " is set, so deletes would go, " +
			"without credentials, " +
			"to another host than Google Cloud Storage: unset it, or set gcs.allow_emulator"}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.MaxGenerations, cfg.MaxListingBytes = cmp.Or(cfg.MaxGenerations, 1_000_000), cmp.Or(cfg.MaxListingBytes, 1<<30)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	who, serviceClock := account{found: "none is sent: gcs.anonymous, or an emulator"}, &clock{}
	httpClient, closeTx, err := newHTTPClient(ctx, cfg, &who, serviceClock)
	if err != nil {
		return nil, err
	}
	opts := []option.ClientOption{option.WithHTTPClient(httpClient)}
	if cfg.Endpoint != "" {
		opts = append(opts, option.WithEndpoint(completeEndpoint(cfg.Endpoint)))
	}
	client, err := storage.NewClient(ctx, opts...)
	if err != nil {
		closeTx()
		return nil, classify("making the storage client", "", err)
	}
	client.SetRetry(
		storage.WithMaxAttempts(cfg.MaxTries),
		storage.WithBackoff(gax.Backoff{Initial: 200 * time.Millisecond, Max: 5 * time.Second, Multiplier: 2}),
		storage.WithPolicy(storage.RetryIdempotent),
	)
	s := &Store{
		cfg: cfg, client: client, closeTx: closeTx, buckets: map[string]*bucket{}, account: who, clock: serviceClock,
	}
	for _, name := range cfg.Locations.Buckets() {
		s.buckets[name] = newBucket(name, s.handle(name), cfg)
	}
	return s, nil
}

// completeEndpoint adds the path of the JSON API to a URL without one: the client library would send calls to the root.
func completeEndpoint(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return endpoint // the library says what is wrong with it
	}
	if u.Path = strings.TrimSuffix(u.Path, "/") + "/"; u.Path == "/" {
		u.Path = "/storage/v1/"
	}
	return u.String()
}

// Close closes the client and its idle connections.
func (s *Store) Close() error {
	err := s.client.Close()
	s.closeTx()
	return err
}

// List returns every generation under dir. It succeeds only with a complete listing: the transport checks each page,
// and that no page is missing (see listing in transport.go).
func (s *Store) List(ctx context.Context, dir purge.Directory) ([]purge.Generation, error) {
	b, err := s.bucketOf(dir)
	if err != nil {
		return nil, err
	}
	if _, err := s.settings(ctx, b, s.recent); err != nil {
		return nil, err
	}
	var found []purge.Generation
	err = s.list(ctx, b, &storage.Query{Prefix: dir.Prefix, Versions: true, Projection: storage.ProjectionNoACL},
		func(page []*storage.ObjectAttrs) {
			found = slices.Grow(found, len(page))
			for _, a := range page {
				found = append(found, s.generation(dir, a))
			}
		})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// generation reads what protects a listed generation from the listing itself: the answer to a delete does not
// distinguish a hold from a missing permission.
func (s *Store) generation(dir purge.Directory, a *storage.ObjectAttrs) purge.Generation {
	until := a.RetentionExpirationTime
	if a.Retention != nil && a.Retention.RetainUntil.After(until) {
		until = a.Retention.RetainUntil
	}
	if !until.After(s.cfg.Now()) {
		until = time.Time{}
	}
	return purge.Generation{
		Directory: dir, Name: a.Name, Number: a.Generation, Size: a.Size, Created: a.Created,
		Held: a.TemporaryHold || a.EventBasedHold, RetainedUntil: until, CacheControl: a.CacheControl,
	}
}

// Delete removes one generation for good. Without its number, a bucket with versioning would keep the bytes.
func (s *Store) Delete(ctx context.Context, g purge.Generation) error {
	b, err := s.bucketOf(g.Directory)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(g.Name, g.Directory.Prefix) || g.Number <= 0 {
		return &purge.Error{Class: purge.Transient, Text: "refusing to delete an object outside its directory or without " +
			"a generation"}
	}
	c, err := b.mutate(ctx, g.Name)
	if err != nil {
		return classify("deleting from", b.name, err)
	}
	defer c.unlock()
	err = s.call(ctx, c, func(ctx context.Context) error {
		return b.handle.Object(g.Name).Generation(g.Number).Delete(ctx)
	})
	if errors.Is(err, storage.ErrObjectNotExist) {
		err = nil // or a missing bucket, or a proxy: the listing that follows finds out
	}
	if settings := b.latest.Load(); err == nil && settings != nil && settings.SoftDelete > 0 {
		b.restorable.add(g, s.cfg.Now().Add(settings.SoftDelete))
	}
	return classify("deleting from", b.name, err)
}

// SoftDeleted lists what can still be restored under dir. It sends the request only if the bucket has a soft delete
// policy, or may have one: without one the service answers 400, and nothing deleted from now on can be restored.
func (s *Store) SoftDeleted(
	ctx context.Context, dir purge.Directory, since time.Time,
) ([]purge.SoftDeletedObject, error) {
	b, err := s.bucketOf(dir)
	if err != nil {
		return nil, err
	}
	// Soft delete may have been switched on since the settings were last read, and what was just deleted can then be
	// restored; or off, and then it is in no listing.
	settings, err := s.settings(ctx, b, func(_, began time.Time) bool { return !began.Before(since) })
	if err != nil {
		return nil, err
	}
	if settings.SoftDelete == 0 && !settings.SoftDeleteUnknown {
		return b.restorable.take(dir, s.cfg.Now()), nil
	}
	var found []purge.SoftDeletedObject
	err = s.list(ctx, b, &storage.Query{Prefix: dir.Prefix, SoftDeleted: true, Projection: storage.ProjectionNoACL},
		func(page []*storage.ObjectAttrs) {
			for _, a := range page {
				if a.HardDeleteTime.After(s.cfg.Now()) {
					found = append(found, purge.SoftDeletedObject{
						Name: a.Name, Number: a.Generation, Size: a.Size,
						Until: a.HardDeleteTime,
					})
				}
			}
		})
	if e, ok := errors.AsType[*googleapi.Error](err); ok && (settings.SoftDeleteUnknown || b.restorable.has(dir)) &&
		e.Code == http.StatusBadRequest && reasonOf(e) != "" {
		return b.restorable.take(dir, s.cfg.Now()), nil // the service says that the bucket has no soft delete policy
	}
	if err != nil {
		return nil, err
	}
	b.restorable.take(dir, s.cfg.Now())
	return found, nil
}

// bucketOf refuses every directory that belongs to no certificate (invariant 3), wherever it comes from.
func (s *Store) bucketOf(dir purge.Directory) (*bucket, error) {
	b := s.buckets[dir.Bucket]
	if b == nil || !s.cfg.Locations.Owns(dir) {
		return nil, &purge.Error{Class: purge.Unrecognised, Text: fmt.Sprintf("refusing a directory of bucket %q that "+
			"belongs to no certificate", dir.Bucket)}
	}
	return b, nil
}

// list reads the listing of one directory to its end, within gcs.max_generations and gcs.max_listing_bytes.
func (s *Store) list(ctx context.Context, b *bucket, q *storage.Query, found func([]*storage.ObjectAttrs)) error {
	seen := 0
	bounds := newListing(int64(s.cfg.MaxListingBytes))
	return s.pages(ctx, b, q, bounds, func(page []*storage.ObjectAttrs) error {
		if seen += len(page); seen > s.cfg.MaxGenerations {
			return tooMany(b.name, fmt.Sprintf("more than %d objects (gcs.max_generations)", s.cfg.MaxGenerations))
		}
		found(page)
		return nil
	})
}

// pages reads a listing to its end. Each page is a call with its own time limit and tries, because there may be many.
func (s *Store) pages(
	ctx context.Context, b *bucket, q *storage.Query, bounds *listing, do func([]*storage.ObjectAttrs) error,
) error {
	for token, more := "", true; more; more = token != "" {
		var page []*storage.ObjectAttrs
		last := token
		err := s.call(ctx, b.readPages(bounds), func(ctx context.Context) (err error) {
			it := b.handle.Objects(ctx, q)
			it.PageInfo().Token = last
			page, err = readPage(it)
			token = it.PageInfo().Token
			return err
		})
		if err != nil {
			return classify("listing", b.name, err)
		}
		for _, attrs := range page {
			if !strings.HasPrefix(attrs.Name, q.Prefix) || attrs.Name < q.StartOffset {
				return classify("listing", b.name, errForeignName)
			}
		}
		purge.CountPage(ctx)
		if err := do(page); err != nil {
			return err
		}
	}
	return nil
}

// readPage reads one page of a listing, and nothing at its end.
func readPage(it *storage.ObjectIterator) (page []*storage.ObjectAttrs, err error) {
	for len(page) == 0 || it.PageInfo().Remaining() > 0 {
		attrs, err := it.Next()
		if errors.Is(err, iterator.Done) {
			return page, nil
		}
		if err != nil {
			return nil, err
		}
		if page == nil {
			page = make([]*storage.ObjectAttrs, 0, 1+it.PageInfo().Remaining())
		}
		page = append(page, attrs)
	}
	return page, nil
}

// tooMany is the error of a listing that is larger than that of any certificate.
func tooMany(bucket, what string) error {
	return &purge.Error{Class: purge.TooManyObjects, Text: fmt.Sprintf(
		"listing bucket %q: a directory holds %s, which no certificate has: nothing in it was deleted", bucket, what)}
}

// errStuck means that a page of a listing leads to one that was read before, or that too many pages hold nothing.
var errStuck = errors.New("the listing makes no progress")

// errForeignName means that a listing showed a name which was not requested. Nothing in it can be believed then.
var errForeignName = errors.New("the listing holds a name that was not requested")
