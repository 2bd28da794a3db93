package inventory

import (
	"bytes"
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

type entry struct {
	id    [16]byte
	flags flags
}

// ids is a sorted list of ids with what is known of each: 17 bytes for one.
type ids []entry

func (a entry) compare(b entry) int { return bytes.Compare(a.id[:], b.id[:]) }

// sorted sorts the list and joins equal ids.
func (l ids) sorted() ids {
	slices.SortFunc(l, entry.compare)
	kept := l[:0]
	for _, e := range l {
		if n := len(kept); n > 0 && kept[n-1].id == e.id {
			kept[n-1].flags |= e.flags
			continue
		}
		kept = append(kept, e)
	}
	return slices.Clip(kept)
}

// find returns the entry of an id; nil if there is none.
func (l ids) find(id [16]byte) *entry {
	if i, ok := slices.BinarySearchFunc(l, entry{id: id}, entry.compare); ok {
		return &l[i]
	}
	return nil
}
