package dataset

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/certpurge/certpurge/internal/purge"
)

// End is how a request stands when nothing more will happen to it.
type End struct {
	State  purge.State
	Reason purge.Reason
}

// User is an account of the site.
type User struct {
	ID       int
	Kind     string // of case, for messages
	State    string // of the retirement; empty if there is no status row, or no longer one
	Retiring bool   // what a purge must find out by itself
	Enqueued bool   // whether the purge is requested, rightly or not
	Want     End    // of those who are enqueued

	requested bool // a retirement request exists
	learner   *learner
}

// Dataset is a site, before it is stored anywhere.
type Dataset struct {
	Users []User // in the order of their ids

	live    []row
	history []row
	objects []object
}

// fate is what a purge must make of a row's reference or of an object.
type fate int

const (
	stays    fate = iota // it is not the worker's business
	goes                 // cleared or erased
	heldBack             // it belongs to a retiring user, but something forbids, for now, to erase it
)

// reference is what a row says of its files.
type reference struct {
	download, verify, url string
}

// row is a row of the live table, or of the history table.
type row struct {
	reference

	id          int // of its own table
	certificate int
	user        *User // nil in history rows whose user is not known
	fate        fate
	kind        string // of a history row: + ~ or -
}

// object is a file on its way into a bucket.
type object struct {
	bucket, name string
	content      content
	learner      *learner
	user         *User // whose file it is; nil if of no user
	fate         fate
	overwritten  int  // how often, before its last content; in a versioned bucket all stay
	archived     bool // deleted at last, as a versioned bucket deletes: the bytes are still there
	options      options
}

// options protect an object.
type options struct {
	temporaryHold, eventBasedHold, retained bool
}

// New invents a site with the given number of ordinary retiring users, and all the awkward ones beside them.
func New(seed uint64, retiring int) *Dataset {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	source := rand.NewChaCha8(key)
	rng := rand.New(source) //nolint:gosec // the same site each time is the point
	b := &builder{source: source, learners: learners(source), out: &Dataset{}}
	cast := castOf(retiring)
	rng.Shuffle(len(cast), func(i, j int) { cast[i], cast[j] = cast[j], cast[i] })
	for i := range min(examples, len(cast)) { // whom the pages name
		ordinary := i + slices.IndexFunc(cast[i:], func(r *role) bool { return r.name == ordinaryRole })
		if ordinary > i {
			cast[i], cast[ordinary] = cast[ordinary], cast[i]
		}
	}
	b.out.Users = make([]User, len(cast))
	seen := map[string]int{}
	for i, role := range cast {
		user := &b.out.Users[i]
		*user = User{
			ID: firstUser + i, Kind: role.name, State: role.states[seen[role.name]%len(role.states)],
			Retiring: role.retiring, Enqueued: role.enqueued, Want: role.want, requested: role.requested,
			learner: b.learners[rng.IntN(len(b.learners))],
		}
		role.give(b, user, seen[role.name])
		seen[role.name]++
	}
	b.strangers()
	return b.out
}

// firstUser is the smallest user id: a site has had others before. The first examples are ordinary users, as far as
// there are any.
const (
	firstUser = 1001
	examples  = 4
)

// Figures are the sizes of a site.
type Figures struct {
	Users, Enqueued, Certificates, HistoryRows, Files int
}

// Figures counts what there is.
func (d *Dataset) Figures() Figures {
	return Figures{
		Users: len(d.Users), Enqueued: len(d.Enqueued()), Certificates: len(d.live), HistoryRows: len(d.history),
		Files: len(d.objects),
	}
}

// Enqueued returns the ids of the users whose purge is asked for, in their order.
func (d *Dataset) Enqueued() []int {
	var ids []int
	for i := range d.Users {
		if d.Users[i].Enqueued {
			ids = append(ids, d.Users[i].ID)
		}
	}
	return ids
}

// builder adds to a site.
type builder struct {
	source   *rand.ChaCha8 // of all that is random: the same seed makes the same site
	learners []*learner
	out      *Dataset
	copy     reference // of a learner who stays, and in the rows of others
	both     reference // of two retiring users
}

// id makes one of the ids of edx-certificates: 32 hexadecimal digits.
func (b *builder) id() string {
	var raw [16]byte
	_, _ = b.source.Read(raw[:]) // it never fails
	return hex.EncodeToString(raw[:])
}

// reference makes new ids of a certificate whose files are at p.
func (b *builder) reference(p place) reference {
	download, verify := b.id(), b.id()
	return reference{download: download, verify: verify, url: p.link(download)}
}

// live adds a row to the live table and returns its id.
func (b *builder) live(u *User, ref reference, f fate) int {
	id := len(b.out.live) + 1
	b.out.live = append(b.out.live, row{reference: ref, id: id, certificate: id, user: u, fate: u.fate(f)})
	return id
}

// past adds a row to the history table. A user of nil is one whom the row does not name.
func (b *builder) past(u *User, certificate int, ref reference, kind string, f fate) {
	id := len(b.out.history) + 1
	b.out.history = append(b.out.history, row{
		reference: ref, id: id, certificate: certificate, user: u, kind: kind, fate: u.fate(f),
	})
}

// file adds an object, and returns it for changes until the next one is added.
func (b *builder) file(u *User, p place, name string, c content, f fate) *object {
	l := b.learners[0]
	if u != nil {
		l = u.learner
	}
	b.out.objects = append(b.out.objects, object{
		bucket: p.bucket, name: name, content: c, learner: l, user: u,
		fate: u.fate(f),
	})
	return &b.out.objects[len(b.out.objects)-1]
}

// files adds the four files of a certificate, or, without a usable verify id, the one.
func (b *builder) files(u *User, p place, ref reference, f fate) {
	b.file(u, p, p.download(ref.download)+pdfName, pdf, f)
	if len(ref.verify) != 32 {
		return
	}
	b.file(u, p, p.verify(ref.verify)+pdfName+".sig", signed, f)
	b.file(u, p, p.verify(ref.verify)+"valid.html", validPage, f)
	b.file(u, p, p.verify(ref.verify)+"verify.html", howToPage, f)
}

// certificate adds a certificate as it should be: a row and its files, all to go.
func (b *builder) certificate(u *User, p place) (id int, ref reference) {
	ref = b.reference(p)
	b.files(u, p, ref, goes)
	return b.live(u, ref, goes), ref
}

// fate is what was meant for what belongs to the user; nothing happens to those who are not retiring.
func (u *User) fate(f fate) fate {
	if u == nil || !u.Retiring {
		return stays
	}
	return f
}

// String names the user without a name.
func (u *User) String() string { return fmt.Sprintf("user %d (%s)", u.ID, u.Kind) }
