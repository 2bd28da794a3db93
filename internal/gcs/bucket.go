package gcs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/iterator"

	"github.com/certpurge/certpurge/internal/purge"
)

// Settings are what a bucket's own settings mean for an erasure.
type Settings struct {
	Bucket        string
	Versioning    bool
	SoftDelete    time.Duration // how long a deleted object can be restored; 0 for not at all
	Retention     time.Duration // minimum age of an object that may be deleted; 0 for none
	RequesterPays bool
}

// bucket is one bucket of the allow-list.
type bucket struct {
	name     string
	handle   *storage.BucketHandle
	mu       sync.Mutex // held while the settings are read, so that one call serves all who wait
	settings Settings
	read     time.Time
}

// permissions are what a purge needs (IAM permissions for Cloud Storage): the proof needs list, the settings need get.
var permissions = []string{"storage.objects.list", "storage.objects.delete", "storage.buckets.get"}

// Probe asks for the settings of every bucket and whether the account has the permissions. It also warms the connection
// up. Its error is of class Misconfigured if asking again would not help.
func (s *Store) Probe(ctx context.Context) ([]Settings, error) {
	var all []Settings
	var errs []error
	for _, name := range s.cfg.Locations.Buckets() {
		b := s.buckets[name]
		b.mu.Lock()
		b.read = time.Time{}
		b.mu.Unlock()
		settings, err := s.settings(ctx, b)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, settings)
		errs = append(errs, s.testPermissions(ctx, b))
	}
	return all, errors.Join(errs...)
}

func (s *Store) testPermissions(ctx context.Context, b *bucket) error {
	var granted []string
	err := s.call(ctx, func(ctx context.Context) (err error) {
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
	return &purge.Error{Class: purge.Misconfigured, Text: fmt.Sprintf("bucket %q: the service account lacks %s", b.name, strings.Join(missing, ", "))}
}

// CheckLocations makes sure that every location whose files are expected has some. It lists one object of each.
func (s *Store) CheckLocations(ctx context.Context) error {
	var errs []error
	for _, dir := range s.cfg.Locations.Parents() {
		found := false
		err := s.call(ctx, func(ctx context.Context) error {
			it := s.buckets[dir.Bucket].handle.Objects(ctx, &storage.Query{Prefix: dir.Prefix, Versions: true, Projection: storage.ProjectionNoACL})
			it.PageInfo().MaxSize = 1
			_, err := it.Next()
			found = err == nil
			if errors.Is(err, iterator.Done) {
				return nil
			}
			return err
		})
		switch {
		case err != nil:
			errs = append(errs, classify("listing", dir.Bucket, err))
		case !found:
			errs = append(errs, &purge.Error{Class: purge.Misconfigured, Text: fmt.Sprintf(
				"bucket %q holds nothing under %q: check the location's bucket, object_prefix and downloads_dir, or, if every file is gone, set its allow_empty",
				dir.Bucket, dir.Prefix)})
		}
	}
	return errors.Join(errs...)
}

// settings returns a bucket's settings, at most AttributesMaxAge old, and refuses a bucket in which an erasure would not
// be one.
func (s *Store) settings(ctx context.Context, b *bucket) (Settings, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := s.cfg.Now()
	if b.read.IsZero() || now.Sub(b.read) >= s.cfg.AttributesMaxAge {
		var attrs *storage.BucketAttrs
		err := s.call(ctx, func(ctx context.Context) (err error) {
			attrs, err = b.handle.Attrs(ctx)
			return err
		})
		if err != nil {
			err = classify("reading the settings of", b.name, err)
			if e, ok := errors.AsType[*purge.Error](err); ok && e.Class == purge.NoPermission {
				e.Class = purge.Misconfigured // no object is at fault
			}
			return Settings{}, err
		}
		b.settings, b.read = readSettings(b.name, attrs), now
	}
	if b.settings.SoftDelete > 0 && !s.cfg.AcceptSoftDelete {
		return Settings{}, &purge.Error{Class: purge.Misconfigured, Text: fmt.Sprintf(
			"bucket %q keeps deleted objects restorable for %v (soft delete): switch that off, or accept it with gcs.accept_soft_delete",
			b.name, b.settings.SoftDelete)}
	}
	return b.settings, nil
}

func readSettings(name string, a *storage.BucketAttrs) Settings {
	s := Settings{Bucket: name, Versioning: a.VersioningEnabled, RequesterPays: a.RequesterPays}
	if a.SoftDeletePolicy != nil {
		s.SoftDelete = a.SoftDeletePolicy.RetentionDuration
	}
	if a.RetentionPolicy != nil {
		s.Retention = a.RetentionPolicy.RetentionPeriod
	}
	return s
}
