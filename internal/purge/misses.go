package purge

import (
	"context"
	"fmt"
	"sync"
)

// missLimit is how many users may find nothing where files were expected before the location itself is in doubt.
const missLimit = 10

// Misses watches whether locations are right: if the first users of a location, one after the other, find nothing in
// their directories of one kind, the location is wrong rather than the users' files missing. It is for one process, and
// safe for concurrent use.
type Misses struct {
	// OnDoubt is called when a location comes into doubt. It must be quick, and may be nil.
	OnDoubt func()

	mu     sync.Mutex
	places map[missPlace]*missCount
}

type missPlace struct {
	location string
	kind     Kind
}

type missCount struct {
	location *Location
	right    bool // files were found there
	users    map[UserID]bool
}

func (c *missCount) doubtful() bool { return !c.right && len(c.users) >= missLimit }

// observe records what one user found in the directories of one kind, and reports whether the location is in doubt now.
func (m *Misses) observe(location *Location, kind Kind, user UserID, found bool) (doubtful bool) {
	if m == nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	key := missPlace{location.Name, kind}
	c := m.places[key]
	if c == nil {
		if m.places == nil {
			m.places = map[missPlace]*missCount{}
		}
		c = &missCount{location: location, users: map[UserID]bool{}}
		m.places[key] = c
	}
	switch {
	case found:
		c.right, c.users = true, nil
	case c.right || c.users[user]: // the requests of the first users end, as failed: files_missing
	case c.doubtful():
		return true // those of all others wait
	default:
		c.users[user] = true
		if c.doubtful() && m.OnDoubt != nil {
			m.OnDoubt()
		}
	}
	return false
}

// Check returns an error of class Misconfigured if a location is in doubt. erasedBelow says whether the ledger shows
// that files were erased below a directory lately, by any worker: then the location is right after all.
func (m *Misses) Check(ctx context.Context, erasedBelow func(context.Context, Directory) (bool, error)) error {
	for key, c := range m.doubtful() {
		parent := Directory{c.location.Bucket, c.location.parent(key.kind)}
		erased, err := erasedBelow(ctx, parent)
		if err != nil {
			return err
		}
		if erased {
			m.observe(c.location, key.kind, 0, true)
			continue
		}
		setting := map[Kind]string{Downloads: "downloads_dir", Verification: "verify_dir, and signed"}[key.kind]
		return &Error{Class: Misconfigured, Text: fmt.Sprintf(
			"location %s: the first %d users had no files in their %s directories, which are below %q in bucket %q: check "+
				"its bucket, "+
				"object_prefix and %s; if they are right, set its missing_files.%s to accept; then restart the worker",
			c.location.Name, missLimit, key.kind, parent.Prefix, parent.Bucket, setting, key.kind)}
	}
	return nil
}

// doubtful returns the locations in doubt.
func (m *Misses) doubtful() map[missPlace]*missCount {
	m.mu.Lock()
	defer m.mu.Unlock()
	doubtful := map[missPlace]*missCount{}
	for key, c := range m.places {
		if c.doubtful() {
			doubtful[key] = c
		}
	}
	return doubtful
}
