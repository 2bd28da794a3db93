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
}

// listing asks for one page.
type listing struct {
	prefix       string
	from, before string // startOffset and endOffset; empty: no bound.
	versions     bool
	softDeleted  bool
	limit        int
	after        *position
}

// list returns a page in the order of name, then generation, and where the next page starts, nil after the last.
func (b *bucket) list(now stamp, q listing) (page []view, next *position) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	tree := &b.stored
	if q.softDeleted {
		tree = &b.softDeleted
	}
	pivot := max(q.prefix, q.from)
	if q.after != nil {
		pivot = max(pivot, q.after.name)
	}
	tree.Ascend(pivot, func(name string, vs *versions) bool {
		if !strings.HasPrefix(name, q.prefix) || q.before != "" && name >= q.before {
			return false
		}
		for _, v := range vs.all {
			if !q.shows(now, name, v) {
				continue
			}
			if len(page) == q.limit {
				last := page[len(page)-1]
				next = &position{last.name, last.generation}
				return false
			}
			page = append(page, b.view(name, v))
		}
		return true
	})
	return page, next
}

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
