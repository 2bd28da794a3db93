package survey

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/certpurge/certpurge/internal/purge"
)

// search looks for directories in buckets, and remembers what it has seen of them.
type search struct {
	lister Lister
	levels map[purge.Directory][]string // directories below a prefix
	closed map[string]string            // buckets that cannot be listed, and why
}

func newSearch(lister Lister) *search {
	return &search{lister: lister, levels: map[purge.Directory][]string{}, closed: map[string]string{}}
}

const (
	// maxTried is how many ids are tried in a directory that may be the right one.
	maxTried = 8
	// maxLevel is how many directories of one level are tried.
	maxLevel = 50
)

// place is where the files of a group were found.
type place struct {
	bucket, prefix, dir string
	found               int // of the sample
}

// hit is a directory below a prefix that may hold a directory for each id.
type hit struct{ prefix, dir string }

// in tries directories of a bucket, and returns the first one that holds something for one of the ids.
func (s *search) in(ctx context.Context, bucket string, ids []string, candidates []hit) (place, bool) {
	tried := map[hit]bool{}
	for _, c := range candidates {
		if tried[c] || c.dir == "" {
			continue
		}
		tried[c] = true
		if s.count(ctx, bucket, c, ids[:min(len(ids), maxTried)]) > 0 {
			return place{bucket, c.prefix, c.dir, s.count(ctx, bucket, c, ids)}, true
		}
		if s.closed[bucket] != "" || ctx.Err() != nil {
			break
		}
	}
	return place{}, false
}

// count returns for how many ids a directory holds something.
func (s *search) count(ctx context.Context, bucket string, c hit, ids []string) int {
	if s.closed[bucket] != "" {
		return 0
	}
	held := make([]bool, len(ids))
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.SetLimit(inParallel)
	for i, id := range ids {
		tasks.Go(func() (err error) {
			held[i], err = s.lister.Holds(ctx, purge.Directory{Bucket: bucket, Prefix: c.prefix + c.dir + "/" + id + "/"})
			return err
		})
	}
	if err := tasks.Wait(); err != nil {
		s.close(bucket, err)
		return 0
	}
	n := 0
	for _, h := range held {
		if h {
			n++
		}
	}
	return n
}

// close notes that a bucket cannot be listed.
func (s *search) close(bucket string, err error) {
	s.closed[bucket] = strings.TrimPrefix(err.Error(), fmt.Sprintf("listing bucket %q: ", bucket))
}

// level returns the directories right below a prefix, without those of single certificates.
func (s *search) level(ctx context.Context, bucket, prefix string) []string {
	key := purge.Directory{Bucket: bucket, Prefix: prefix}
	if known, ok := s.levels[key]; ok || s.closed[bucket] != "" {
		return known
	}
	found, err := s.lister.Directories(ctx, bucket, prefix)
	if err != nil {
		s.close(bucket, err)
		return nil
	}
	var dirs []string
	for _, dir := range found {
		if dir = strings.TrimSuffix(dir, "/"); dir != "" && !idName.MatchString(dir) && len(dirs) < maxLevel {
			dirs = append(dirs, dir)
		}
	}
	s.levels[key] = dirs
	return dirs
}

var idName = regexp.MustCompile(`^[0-9a-f]{32}$`)

// downloads looks for the directory of PDFs in a bucket: where the link says, where a location has it, and one level
// deep.
func (s *search) downloads(ctx context.Context, bucket, linkPath string, known []hit, ids []string) (place, bool) {
	dir := lastOf(linkPath)
	candidates := append(slices.Clone(known), hit{strings.TrimSuffix(linkPath, dir+"/"), dir}, hit{"", dir})
	if found, ok := s.in(ctx, bucket, ids, candidates); ok {
		return found, true
	}
	var deeper []hit
	for _, name := range s.level(ctx, bucket, "") {
		deeper = append(deeper, hit{"", name}, hit{name + "/", dir})
	}
	return s.in(ctx, bucket, ids, deeper)
}

// verification looks for the directory of signatures beside that of PDFs.
func (s *search) verification(ctx context.Context, bucket, prefix, downloads string, known []string,
	ids []string,
) (place, bool) {
	if len(ids) == 0 {
		return place{}, false
	}
	var candidates []hit
	for _, dir := range slices.Concat(known, s.level(ctx, bucket, prefix)) {
		if !purge.Nested(dir, downloads) {
			candidates = append(candidates, hit{prefix, dir})
		}
	}
	return s.in(ctx, bucket, ids, candidates)
}

// lastOf is the last directory of a path that ends in a slash.
func lastOf(path string) string {
	path = strings.TrimSuffix(path, "/")
	return path[strings.LastIndexByte(path, '/')+1:]
}

// bucketForms are the URLs under which Amazon S3 and Google Cloud Storage serve buckets. (S3 user guide, "Virtual
// hosting of buckets", "Website endpoints"; Cloud Storage documentation, "Request endpoints".)
var bucketForms = []*regexp.Regexp{
	regexp.MustCompile(`^gs://(?P<bucket>[^/]+)/(?P<path>.*)$`),
	regexp.MustCompile(`^(?:storage\.googleapis\.com|storage\.cloud\.google\.com|commondatastorage\.googleapis\.com)/` +
		`(?P<bucket>[^/]+)/(?P<path>.*)$`),
	regexp.MustCompile(`^(?P<bucket>[^/]+)\.(?:commondata)?storage\.googleapis\.com/(?P<path>.*)$`),
	regexp.MustCompile(`^s3(?:[.-](?:dualstack\.)?[a-z0-9-]+)?\.amazonaws\.com(?:\.cn)?/(?P<bucket>[^/]+)/(?P<path>.*)$`),
	regexp.MustCompile(
		`^(?P<bucket>[^/]+?)\.s3(?:-website)?(?:[.-](?:dualstack\.)?[a-z0-9-]+)?\.amazonaws\.com(?:\.cn)?/` +
			`(?P<path>.*)$`),
	regexp.MustCompile(`^(?P<bucket>[^/:]+\.[^/:]+)/(?P<path>.*)$`), // a bucket that is named as its host
}

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$`)

// ValidBucket reports whether a text can be the name of a bucket of Cloud Storage.
func ValidBucket(name string) bool { return bucketName.MatchString(name) }

// guessBucket reads the bucket and the path in it from the prefix of a group. Files that were moved from S3 are often
// in a bucket of the same name. bucket is empty if the form does not name it.
func guessBucket(prefix string) (bucket, path string) {
	for _, form := range bucketForms {
		if m := form.FindStringSubmatch(prefix); m != nil {
			if bucket = m[form.SubexpIndex("bucket")]; !bucketName.MatchString(bucket) {
				bucket = ""
			}
			return bucket, m[form.SubexpIndex("path")]
		}
	}
	_, path, _ = strings.Cut(prefix, "/")
	return "", path
}

// why lists the buckets that could not be looked up.
func (s *search) why(buckets []string) string {
	var parts []string
	for _, name := range buckets {
		if reason := s.closed[name]; reason != "" {
			parts = append(parts, fmt.Sprintf("%s (%s)", name, reason))
		}
	}
	return strings.Join(parts, ", ")
}
