package gcs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cloud.google.com/go/storage"

	"github.com/certpurge/certpurge/internal/purge"
)

// bucket is one bucket of the allow-list.
type bucket struct {
	name   string
	handle *storage.BucketHandle
	slots  chan struct{} // one place for each call under way

	deletes, reads *pace
	nameLocks      nameLocks

	asking   chan struct{}                        // the calls that read the settings, for all that wait
	latest   atomic.Pointer[purge.BucketSettings] // as they were last read, for Store.Settings and others that only read
	mu       sync.Mutex                           // guards the next three
	settings purge.BucketSettings
	readAt   time.Time // when they were read, by Config.Now; zero if they are not known
	began    time.Time // the same, by the machine's clock

	restorable restorable
}

// maxReaders is how many calls read a bucket's settings at a time, for all attempts that wait for them. Each attempt
// needs settings that were read after its last delete: with one call at a time it would wait for the end of a call that
// began too early, and then for the next one.
const maxReaders = 8

func newBucket(name string, handle *storage.BucketHandle, cfg Config) *bucket {
	log := cfg.Log.With(slog.String("bucket", name))
	return &bucket{
		name: name, handle: handle, slots: make(chan struct{}, cfg.MaxInFlight), asking: make(chan struct{}, maxReaders),
		deletes:   newPace(cfg.DeleteRate, log.With(slog.String("requests", "deletes"))),
		reads:     newPace(cfg.ReadRate, log.With(slog.String("requests", "reads"))),
		nameLocks: nameLocks{byName: map[string]*nameLock{}},
	}
}

// permissions are the IAM permissions that a purge needs: listings need list, the bucket's settings need get.
var permissions = []string{"storage.objects.list", "storage.objects.delete", "storage.buckets.get"}

// Probe reads the settings of every bucket and tests whether the account has the permissions. It also warms the
// connection up. Its error is of class Misconfigured if trying again would not help.
func (s *Store) Probe(ctx context.Context) ([]purge.BucketSettings, error) {
	var all []purge.BucketSettings
	var errs []error
	for _, name := range s.cfg.Locations.Buckets() {
		settings, err := s.ProbeBucket(ctx, name)
		if settings.Bucket != "" {
			all = append(all, settings)
		}
		errs = append(errs, err)
	}
	return all, errors.Join(errs...)
}

// ProbeBucket is Probe for one bucket of the locations. The settings may be known although the permissions are not
// there.
func (s *Store) ProbeBucket(ctx context.Context, name string) (purge.BucketSettings, error) {
	b := s.buckets[name]
	if b == nil {
		return purge.BucketSettings{}, &purge.Error{
			Class: purge.Misconfigured,
			Text:  fmt.Sprintf("bucket %q belongs to no location", name),
		}
	}
	settings, err := s.settings(ctx, b, func(_, _ time.Time) bool { return false })
	if err != nil {
		return purge.BucketSettings{}, err
	}
	return settings, s.testPermissions(ctx, b)
}

func (s *Store) testPermissions(ctx context.Context, b *bucket) error {
	var granted []string
	err := s.call(ctx, b.read(), func(ctx context.Context) (err error) {
		granted, err = b.handle.IAM().TestPermissions(ctx, permissions)
		return err
	})
	if err != nil {
		return classify("testing the permissions on", b.name, err)
	}
	missing := slices.DeleteFunc(slices.Clone(permissions), func(p string) bool { return slices.Contains(granted, p) })
	if len(missing) == 0 {
		return nil
	}
	return &purge.Error{Class: purge.Misconfigured, Text: fmt.Sprintf("bucket %q: the service "+
		"account lacks %s", b.name, strings.Join(missing, ", "))}
}

// CheckLocations makes sure that every location whose files are expected has some; with names, the locations of these
// names. It lists one object of each directory.
func (s *Store) CheckLocations(ctx context.Context, names ...string) error {
	var errs []error
	var empty []string
	for _, dir := range s.cfg.Locations.Parents(names...) {
		found, err := s.holds(ctx, s.buckets[dir.Bucket], dir.Prefix)
		switch {
		case err != nil:
			errs = append(errs, err)
		case !found:
			empty = append(empty, fmt.Sprintf("bucket %q holds nothing under %q", dir.Bucket, dir.Prefix))
		}
	}
	if len(empty) > 0 {
		errs = append(errs, &purge.Error{Class: purge.Misconfigured, Text: strings.Join(empty, " and ") +
			": check the location's bucket, object_prefix, downloads_dir and verify_dir; if its certificates were never " +
			"signed, set signed" +
			" to false; if every file is gone, set allow_empty"})
	}
	return errors.Join(errs...)
}

// fresh reports whether settings are recent enough to be used. readAt and began are when they were read, by Config.Now
// and by the machine's clock.
type fresh func(readAt, began time.Time) bool

// recent accepts settings that are not older than gcs.attributes_max_age.
func (s *Store) recent(readAt, _ time.Time) bool {
	return s.cfg.Now().Sub(readAt) < s.cfg.AttributesMaxAge
}

// known returns the settings if they are fresh.
func (b *bucket) known(is fresh) (purge.BucketSettings, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.settings, !b.readAt.IsZero() && is(b.readAt, b.began)
}

// settings returns a bucket's settings, which it reads unless fresh ones are known, and refuses a bucket in which an
// erasure would not be one.
func (s *Store) settings(ctx context.Context, b *bucket, is fresh) (purge.BucketSettings, error) {
	settings, ok := b.known(is)
	if !ok {
		if err := b.enterReading(ctx); err != nil {
			return purge.BucketSettings{}, classify("reading the settings of", b.name, err)
		}
		defer func() { <-b.asking }()
		if settings, ok = b.known(is); !ok {
			var err error
			if settings, err = s.readSettings(ctx, b); err != nil {
				return purge.BucketSettings{}, err
			}
		}
	}
	if settings.SoftDelete > 0 && !s.cfg.AcceptSoftDelete {
		return purge.BucketSettings{}, &purge.Error{Class: purge.Misconfigured, Text: fmt.Sprintf(
			"bucket %q keeps deleted objects restorable for %v (soft delete): switch that off, or accept it with "+
				"gcs.accept_soft_delete",
			b.name, settings.SoftDelete)}
	}
	return settings, nil
}

// readSettings reads the settings from the service. After a failure they count as unknown: they may have changed.
func (s *Store) readSettings(ctx context.Context, b *bucket) (purge.BucketSettings, error) {
	readAt, began := s.cfg.Now(), time.Now()
	var attrs *storage.BucketAttrs
	err := s.call(ctx, b.read(), func(ctx context.Context) (err error) {
		if attrs, err = b.handle.Attrs(ctx); err == nil && attrs.Name != b.name {
			return errForeign
		}
		return err
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.readAt = time.Time{}
		err = classify("reading the settings of", b.name, err)
		if e, ok := errors.AsType[*purge.Error](err); ok && e.Class == purge.NoPermission {
			e.Class = purge.Misconfigured // the permission concerns the bucket, not one object
		}
		return purge.BucketSettings{}, err
	}
	settings := settingsOf(b.name, attrs)
	settings.ReadAt = readAt
	if !began.Before(b.began) { // calls that overlap may end in another order
		b.settings, b.readAt, b.began = settings, readAt, began
		b.latest.Store(&settings)
	}
	return settings, nil
}

// enterReading takes a place among the calls that read the settings. It gives up when the attempt's time is over, even
// while those that hold the places wait for their admission.
func (b *bucket) enterReading(ctx context.Context) error {
	select {
	case b.asking <- struct{}{}:
		return nil
	default:
	}
	c := b.read()
	w, cancel := newWaiter(ctx, c)
	defer cancel()
	if err := w.enter(b.asking); err != nil {
		return c.timeoutError(err, false)
	}
	return nil
}

func settingsOf(name string, a *storage.BucketAttrs) purge.BucketSettings {
	s := purge.BucketSettings{Bucket: name, Versioning: a.VersioningEnabled, RequesterPays: a.RequesterPays}
	if s.SoftDeleteUnknown = a.SoftDeletePolicy == nil; !s.SoftDeleteUnknown {
		s.SoftDelete = a.SoftDeletePolicy.RetentionDuration
	}
	if a.RetentionPolicy != nil {
		s.Retention = a.RetentionPolicy.RetentionPeriod
	}
	return s
}
