package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// Stored is a document as the ledger holds it.
type Stored struct {
	ID      int64
	Request purge.RequestID
	Number  int // of the request's documents, from 1
	User    purge.UserID
	Attempt int
	Part    Part
	At      time.Time
	Hash    [sha256.Size]byte
	Text    []byte
}

// Trouble is something that is not as it was written.
type Trouble struct {
	Request  purge.RequestID `json:"request_id,omitempty"`
	Document int64           `json:"document,omitempty"` // its number in the ledger
	Anchor   int64           `json:"anchor,omitempty"`
	Text     string          `json:"text"`
}

// CheckChain compares the documents of one request, in the order of their numbers, with their hashes. pruned says that
// the first of them were removed on purpose.
func CheckChain(documents []Stored, pruned bool) (troubles []Trouble) {
	var previous [sha256.Size]byte
	for i, d := range documents {
		say := func(text string) {
			troubles = append(troubles, Trouble{Request: d.Request, Document: d.ID, Text: text})
		}
		if want := i + 1; i == 0 && d.Number > want && !pruned {
			say(fmt.Sprintf("document %d of request %d is the first that is there: %d before it are missing", d.Number,
				d.Request, d.Number-want))
		} else if i > 0 && d.Number != documents[i-1].Number+1 {
			say(fmt.Sprintf("document %d of request %d is missing", documents[i-1].Number+1, d.Request))
		}
		follows := i == 0 && d.Number == 1 || i > 0 && d.Number == documents[i-1].Number+1
		switch read, err := Decode(d.Text); {
		case follows && Hash(previous, d.Text) != d.Hash:
			say(fmt.Sprintf("document %d of request %d was changed, or the one before it", d.Number, d.Request))
		case err != nil:
			say(fmt.Sprintf("document %d of request %d cannot be read: %v", d.Number, d.Request, err))
		case read.Request.ID != d.Request || read.Request.UserID != d.User || read.Attempt != d.Attempt ||
			read.Part != d.Part:
			say(fmt.Sprintf("document %d of request %d is kept as another one's: it is about request %d", d.Number, d.Request,
				read.Request.ID))
		case read.At.Sub(d.At).Abs() > time.Millisecond: // the ledger keeps microseconds
			say(fmt.Sprintf("document %d of request %d is of %s, but is kept as one of %s", d.Number, d.Request,
				read.At.Format(time.RFC3339), d.At.Format(time.RFC3339)))
		}
		previous = d.Hash
	}
	return troubles
}

// Mark is the id and the hash of a document.
type Mark struct {
	ID   int64
	Hash [sha256.Size]byte
}

// prefixSize is how much of a hash an anchor's list holds: enough to name what has changed. The hash of the anchor is
// made of the whole hashes.
const prefixSize = 8

// Anchor is a hash over the documents that were written since the anchor before it.
type Anchor struct {
	ID        int64
	After     int64 // documents with greater ids
	Last      int64 // up to this one
	Hash      [sha256.Size]byte
	Documents []byte // for each: the distance of its id to the one before it, as a varint, and the beginning of its hash
}

// NewAnchor makes the anchor of documents, in the order of their ids, behind another one.
func NewAnchor(before Anchor, marks []Mark) Anchor {
	a := Anchor{After: before.Last, Last: before.Last}
	hash := sha256.New()
	hash.Write(before.Hash[:])
	for _, m := range marks {
		hash.Write(binary.BigEndian.AppendUint64(nil, uint64(m.ID))) //nolint:gosec // positive
		hash.Write(m.Hash[:])
		a.Documents = binary.AppendUvarint(a.Documents, uint64(m.ID-a.Last)) //nolint:gosec // in ascending order
		a.Documents = append(a.Documents, m.Hash[:prefixSize]...)
		a.Last = m.ID
	}
	hash.Sum(a.Hash[:0])
	return a
}

// marks reads the list of an anchor.
func (a Anchor) marks() (marks []Mark, err error) {
	last := a.After
	for list := a.Documents; len(list) > 0; {
		distance, n := binary.Uvarint(list)
		if n <= 0 || len(list) < n+prefixSize {
			return nil, fmt.Errorf("anchor %d: its list of documents ends early", a.ID)
		}
		last += int64(distance) //nolint:gosec // an id of the ledger
		m := Mark{ID: last}
		copy(m.Hash[:], list[n:n+prefixSize])
		marks, list = append(marks, m), list[n+prefixSize:]
	}
	return marks, nil
}

// Holds reports whether the list of an anchor has a document with this hash.
func (a Anchor) Holds(m Mark) bool {
	marks, err := a.marks()
	return err == nil && slices.ContainsFunc(marks, func(held Mark) bool {
		return held.ID == m.ID && bytes.Equal(held.Hash[:prefixSize], m.Hash[:prefixSize])
	})
}

// CheckAnchor compares an anchor with the one before it and with the documents that are there now, in the order of
// their ids.
func CheckAnchor(before, a Anchor, present []Mark) (troubles []Trouble) {
	say := func(document int64, text string) {
		troubles = append(troubles, Trouble{Anchor: a.ID, Document: document, Text: text})
	}
	if a.After != before.Last {
		say(0, fmt.Sprintf("anchor %d begins behind document %d, but the anchor before it ends at %d: an anchor is missing",
			a.ID, a.After, before.Last))
		return troubles
	}
	if again := NewAnchor(before, present); again.Hash == a.Hash && again.Last == a.Last &&
		bytes.Equal(again.Documents, a.Documents) {
		return nil
	}
	marks, err := a.marks()
	if err != nil {
		say(0, err.Error())
		return troubles
	}
	missing, rest := 0, present
	for _, m := range marks {
		for len(rest) > 0 && rest[0].ID < m.ID {
			say(rest[0].ID, fmt.Sprintf("document %d was added after anchor %d was made", rest[0].ID, a.ID))
			rest = rest[1:]
		}
		switch {
		case len(rest) == 0 || rest[0].ID != m.ID:
			if missing++; missing <= namedMissing {
				say(m.ID, fmt.Sprintf("document %d, which anchor %d holds, is missing", m.ID, a.ID))
			}
		case !bytes.Equal(rest[0].Hash[:prefixSize], m.Hash[:prefixSize]):
			say(m.ID, fmt.Sprintf("document %d is not the one that anchor %d holds", m.ID, a.ID))
			rest = rest[1:]
		default:
			rest = rest[1:]
		}
	}
	if missing > namedMissing {
		say(0, fmt.Sprintf("%d more documents that anchor %d holds are missing, up to %d", missing-namedMissing, a.ID,
			a.Last))
	}
	for _, m := range rest {
		say(m.ID, fmt.Sprintf("document %d was added after anchor %d was made", m.ID, a.ID))
	}
	if len(troubles) == 0 {
		say(0, fmt.Sprintf("anchor %d was changed, or the one before it", a.ID))
	}
	return troubles
}

// namedMissing is how many documents are named that are missing from one anchor: a table from a backup misses many.
const namedMissing = 20
