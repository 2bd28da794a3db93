package gcs

import (
	"context"
	"fmt"
	"math"

	"cloud.google.com/go/storage"

	"github.com/certpurge/certpurge/internal/purge"
)

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
