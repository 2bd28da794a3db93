package inventory

import (
	"bytes"
	"cmp"
	"slices"
)

// flags is what is known of an id.
type flags uint8

const (
	ofLive       flags = 1 << iota // a reference of a user who is not retiring holds it
	ofDue                          // a reference of a retiring user does
	wantDownload                   // a reference says that there is a file in its downloads directory
	wantVerify                     // the same of its verification directory
	seenDownload                   // there is something in its downloads directory
	seenVerify                     // the same of its verification directory
)

// Of ids without a reference.
const (
	erased    flags = 1 << iota // the evidence from before the run says that files of its directory were erased
	protected                   // it says that something protected one
	purged                      // evidence from during the run says that it was purged meanwhile
)

// key is what an entry is about: an id, or, of the directories without a reference, the number of its root and an id.
type key struct {
	id   [16]byte
	root uint8
}

type entry struct {
	key
	flags flags
}

// ids is a sorted list of ids with what is known of each: 18 bytes for one.
type ids []entry

func (a entry) compare(b entry) int {
	return cmp.Or(bytes.Compare(a.id[:], b.id[:]), cmp.Compare(a.root, b.root))
}

// sorted sorts the list and joins equal ids.
func (l ids) sorted() ids {
	slices.SortFunc(l, entry.compare)
	kept := l[:0]
	for _, e := range l {
		if n := len(kept); n > 0 && kept[n-1].key == e.key {
			kept[n-1].flags |= e.flags
			continue
		}
		kept = append(kept, e)
	}
	return slices.Clip(kept)
}

// find returns an entry; nil if there is none.
func (l ids) find(k key) *entry {
	if i, ok := slices.BinarySearchFunc(l, entry{key: k}, entry.compare); ok {
		return &l[i]
	}
	return nil
}
