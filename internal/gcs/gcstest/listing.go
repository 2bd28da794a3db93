package gcstest

import "strings"

// maxPage is the most a page of a listing holds, and the default (documented for objects.list).
const maxPage = 1000

// view is a copy of a generation, taken under the lock and written without it.
type view struct {
	version

	name          string
	retainedUntil stamp
}

func (b *bucket) view(name string, v *version) view {
	return view{version: *v, name: name, retainedUntil: b.retainedUntil(v)}
}

func (v *version) live() bool { return v.noncurrent == 0 && v.softDeleted == 0 }

// position is a place in a listing: after this generation of this name.
type position struct {
	name       string
	generation int64
	items      bool // Of interleave: the empty page before this place was sent.
}

// listing asks for one page.
type listing struct {
	prefix      string
	from        string // startOffset; empty: no bound.
	delimiter   string // Empty: no directories.
	versions    bool
	softDeleted bool
	folders     bool // Show folders as directories, too.
	limit       int
	after       *position
}

// page is a part of a listing: the generations, and with a delimiter the directories that hold others.
type page struct {
	views    []view
	prefixes []string
}

// behind sorts after all names that begin with a prefix, and is itself no name, because it is no UTF-8.
func behind(prefix string) string { return prefix + "\xff" }

// list returns a page in the order of name, then generation, and where the next page starts, nil after the last.
func (b *bucket) list(now stamp, q listing) (p page, next *position) {
	tree := &b.stored
	if q.folders {
		b.mu.Lock() // Copying a tree writes to it.
		defer b.mu.Unlock()
		tree = b.withFolders()
	} else {
		b.mu.RLock()
		defer b.mu.RUnlock()
	}
	if q.softDeleted {
		tree = &b.softDeleted
	}
	pivot := max(q.prefix, q.from)
	if q.after != nil {
		pivot = max(pivot, q.after.name)
	}
	last := position{}
	full := func() bool {
		if len(p.views)+len(p.prefixes) < q.limit {
			return false
		}
		next = &last
		return true
	}
	for jumped := true; jumped; {
		jumped = false
		tree.Ascend(pivot, func(name string, vs *versions) bool {
			if !strings.HasPrefix(name, q.prefix) {
				return false
			}
			dir := ""
			if q.delimiter != "" {
				if before, _, found := strings.Cut(name[len(q.prefix):], q.delimiter); found {
					dir = q.prefix + before + q.delimiter
				}
			}
			for _, v := range vs.all {
				switch {
				case !q.shows(now, name, v):
					continue
				case full():
					return false
				case dir != "":
					p.prefixes = append(p.prefixes, dir)
					last = position{name: behind(dir)}
					pivot, jumped = last.name, true
					return false
				}
				p.views = append(p.views, b.view(name, v))
				last = position{name: name, generation: v.generation}
			}
			if vs.folder && dir != "" && (q.after == nil || name > q.after.name) {
				if full() {
					return false
				}
				p.prefixes = append(p.prefixes, dir)
				last = position{name: behind(dir)}
				pivot, jumped = last.name, true
				return false
			}
			return true
		})
	}
	return p, next
}

// interleave sends an empty page before each page of a listing, and two behind the last, all but the very last with a
// token, as the service may: only a page without a token is the end.
func (q *listing) interleave(p page, next *position) (page, *position) {
	switch {
	case q.after == nil:
		return page{}, &position{items: true}
	case !q.after.items:
		return page{}, &position{name: q.after.name, generation: q.after.generation, items: true}
	case next == nil && q.after.name != theEnd:
		next = &position{name: theEnd}
	}
	return p, next
}

// theEnd is behind every name.
const theEnd = "\xff"

func (q *listing) shows(now stamp, name string, v *version) bool {
	switch {
	case q.after != nil && name == q.after.name && v.generation <= q.after.generation:
		return false
	case q.softDeleted:
		return now < v.hardDelete
	default:
		return q.versions || v.live()
	}
}

// read returns one generation: the live one when generation is negative, a soft-deleted one when softDeleted is set.
func (b *bucket) read(now stamp, name string, generation int64, softDeleted bool) (view, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	tree := &b.stored
	if softDeleted {
		tree = &b.softDeleted
	}
	vs, _ := tree.Get(name)
	v := vs.pick(generation)
	if v == nil || softDeleted && now >= v.hardDelete {
		return view{}, false
	}
	return b.view(name, v), true
}
