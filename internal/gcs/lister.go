package gcs

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"

	"cloud.google.com/go/storage"
	"google.golang.org/api/iterator"

	"github.com/certpurge/certpurge/internal/purge"
)

// Lister lists any bucket that the credentials may list, for an operator who does not know yet where the files are. It
// can only list: a Store deletes nothing outside of its locations. The rates of the Store apply to its requests.
type Lister struct {
	store *Store

	mu      sync.Mutex
	buckets map[string]*bucket // those that no location names
}

// Lister returns one that shares the Store's client and rates.
func (s *Store) Lister() *Lister { return &Lister{store: s, buckets: map[string]*bucket{}} }

func (l *Lister) bucket(name string) *bucket {
	if b := l.store.buckets[name]; b != nil {
		return b
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[name]
	if b == nil {
		b = newBucket(name, l.store.handle(name), l.store.cfg)
		l.buckets[name] = b
	}
	return b
}

// Holds reports whether there is an object, of any generation, under a directory.
func (l *Lister) Holds(ctx context.Context, dir purge.Directory) (bool, error) {
	return l.store.holds(ctx, l.bucket(dir.Bucket), dir.Prefix)
}

// maxDirectoryPages bounds the listing of a first level, which also holds the objects that lie in it.
const maxDirectoryPages = 10

// Directories returns the directories right below a prefix, each with the slash at its end. If there are thousands of
// objects beside them, it returns only those of the first pages.
func (l *Lister) Directories(ctx context.Context, bucket, prefix string) ([]string, error) {
	b := l.bucket(bucket)
	var found []string
	q := &storage.Query{Prefix: prefix, Delimiter: "/", Versions: true, Projection: storage.ProjectionNoACL}
	token, bounds := "", newListing(int64(l.store.cfg.MaxListingBytes))
	for range maxDirectoryPages {
		err := l.store.call(ctx, b.readPages(bounds), func(ctx context.Context) error {
			it := b.handle.Objects(ctx, q)
			it.PageInfo().Token = token
			page, err := readPage(it)
			for _, attrs := range page {
				if attrs.Prefix != "" {
					found = append(found, strings.TrimPrefix(attrs.Prefix, prefix))
				}
			}
			token = it.PageInfo().Token
			return err
		})
		if err != nil {
			return nil, classify("listing", bucket, err)
		}
		if token == "" {
			break
		}
	}
	return found, nil
}

// holds reports whether there is an object under a prefix.
func (s *Store) holds(ctx context.Context, b *bucket, prefix string) (found bool, err error) {
	c := b.readPages(newListing(int64(s.cfg.MaxListingBytes)))
	err = s.call(ctx, c, func(ctx context.Context) error {
		it := b.handle.Objects(ctx, &storage.Query{Prefix: prefix, Versions: true, Projection: storage.ProjectionNoACL})
		it.PageInfo().MaxSize = 2 // the second is the first file, if the directory itself is an object
		for {
			attrs, err := it.Next()
			if errors.Is(err, iterator.Done) {
				return nil
			}
			if err == nil && purge.IsPlaceholder(attrs.Name) {
				continue
			}
			found = err == nil && strings.HasPrefix(attrs.Name, prefix)
			return err
		}
	})
	return found, classify("listing", b.name, err)
}

// handle returns the client library's handle of a bucket.
func (s *Store) handle(name string) *storage.BucketHandle {
	handle := s.client.Bucket(name)
	if s.cfg.UserProject != "" {
		handle = handle.UserProject(s.cfg.UserProject)
	}
	return handle
}

// Walk lists every generation of every object below one of the locations' directories, in the order of their names,
// beginning with the name from if that is not empty, and calls do for each page. However many there are, one page is in
// memory, and the rate of reads holds. An error means that the listing is not complete.
func (s *Store) Walk(ctx context.Context, root purge.Directory, from string, do func([]purge.Generation) error) error {
	b := s.buckets[root.Bucket]
	if b == nil || !s.cfg.Locations.IsRoot(root) {
		return &purge.Error{Class: purge.Unrecognised, Text: fmt.Sprintf("refusing to list %q of bucket %q, which is "+
			"no location's", root.Prefix, root.Bucket)}
	}
	if _, err := s.settings(ctx, b, s.recent); err != nil {
		return err
	}
	q := &storage.Query{Prefix: root.Prefix, StartOffset: from, Versions: true, Projection: storage.ProjectionNoACL}
	return s.pages(ctx, b, q, newListing(math.MaxInt64), func(page []*storage.ObjectAttrs) error {
		found := make([]purge.Generation, len(page))
		for i, attrs := range page {
			found[i] = s.generation(root, attrs)
		}
		return do(found)
	})
}
