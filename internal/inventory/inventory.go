package inventory

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// Class is what a directory is.
type Class string

// The classes. Every directory is of the first one that fits.
const (
	Odd       Class = "odd"        // its name is none that a certificate has
	Live      Class = "live"       // a row of a user who is not retiring holds its id: it must stay
	Purged    Class = "purged"     // it was purged while the inventory ran, after it had been listed
	BackAgain Class = "back_again" // the evidence says that it was erased, and something is there
	Due       Class = "due"        // a row of a retiring user holds its id: a purge erases it
	Young     Class = "young"      // no row holds its id, and something in it is too young for an orphan
	Orphan    Class = "orphan"     // no row holds its id
)

// Classes returns all classes, in the order in which a report shows them.
func Classes() []Class { return []Class{Live, Due, BackAgain, Orphan, Young, Odd, Purged} }

// Problem reports whether directories of the class are in the way of stating that no file of a retired user is left.
func (c Class) Problem() bool { return c != Live && c != Purged }

// Bucket lists what is stored.
type Bucket interface {
	// Walk lists every generation below a root in the order of their names, from a name on, page by page. An error means
	// that the listing is not complete.
	Walk(ctx context.Context, root purge.Directory, from string, do func([]purge.Generation) error) error
}

// Database is the LMS and the ledger.
type Database interface {
	// EachReference calls do for every row that holds a reference; user 0 is not known.
	EachReference(ctx context.Context, do func(purge.UserID, purge.Reference) error) error
	// EachRetiree calls do for every user with a retirement request, in the order of their ids.
	EachRetiree(ctx context.Context, do func(purge.Retiree) error) error
	// EachOutcome calls do for the evidence of objects that were erased, or protected.
	EachOutcome(ctx context.Context, do func(dir purge.Directory, outcome purge.Outcome, at time.Time) error) error
}

// Inventory takes the inventory of the buckets of all locations. Its fields are set before Run.
type Inventory struct {
	Bucket     Bucket
	Database   Database
	Locations  purge.Locations
	Eligible   func(purge.Retirement) bool
	Site       string        // name of the LMS's database; a checkpoint of another site or of other locations is refused
	Checkpoint string        // file to resume from, and to write to; empty for none
	MinAge     time.Duration // a directory without a link that holds something younger is no orphan
	Now        func() time.Time
	Progress   func(Progress)                // called after each page; may be nil
	List       func(Directory) error         // called for each directory of the classes for which Want is true; may be nil
	Want       func(Class) bool              // nil for none
	Phase      func(what string, rows int64) // called with what is read from the databases; may be nil
}

// Progress is how far the listing is.
type Progress struct {
	Objects     int64
	Directories int
	Part        float64 // of all, 0 to 1; ids are random, so the position in the alphabet is the measure
}

// Directory is one directory, or name that is no certificate's, with what is in it.
type Directory struct {
	Class  Class  `json:"class"`
	Bucket string `json:"bucket"`
	// Name is the prefix of a directory, with its closing slash, or the name of an object that is in none.
	Name    string    `json:"directory"`
	Objects int64     `json:"objects"` // generations
	Bytes   int64     `json:"bytes"`
	Oldest  time.Time `json:"oldest"`
	Newest  time.Time `json:"newest"`
}

// Sum is the figures of one class.
type Sum struct {
	Class       Class      `json:"class"`
	Directories int64      `json:"directories"`
	Objects     int64      `json:"objects"` // generations
	Bytes       int64      `json:"bytes"`
	Oldest      *time.Time `json:"oldest,omitempty"`
	Newest      *time.Time `json:"newest,omitempty"`
}

// BucketSums are the figures of one bucket.
type BucketSums struct {
	Bucket string `json:"bucket"`
	Sums   []Sum  `json:"classes"` // all classes, in the order of Classes
}

// Report is the whole.
type Report struct {
	Started time.Time    `json:"started"`
	Sums    []Sum        `json:"classes"` // all classes, in the order of Classes
	Buckets []BucketSums `json:"buckets"` // the same, of each bucket
	// References are rows with a link; NotUnderstood those from which no directory can be named, External those whose link
	// leads to no file of ours.
	References    int64 `json:"references"`
	NotUnderstood int64 `json:"references_not_understood"`
	External      int64 `json:"references_external"`
	// MissingDownloads and MissingVerifications are ids that references hold and of whose directory, in any location,
	// nothing was listed.
	MissingDownloads     int64 `json:"downloads_missing"`
	MissingVerifications int64 `json:"verifications_missing"`
	// RetiringNotUnderstood are those of NotUnderstood that are of retiring users.
	RetiringNotUnderstood int64 `json:"retiring_not_understood"`
	Retiring              int   `json:"retiring_users"` // users who may be purged

	// Names are the first directories of each class that is a problem, maxNames at most.
	Names []Directory `json:"-"`
}

// maxNames is how many directories of a class are in a Report.
const maxNames = 1_000

// Kept is what the ledger keeps of an inventory, as JSON.
type Kept struct {
	Report

	Doubts []string    `json:"doubts,omitempty"`
	Names  []Directory `json:"directories,omitempty"`
	Failed string      `json:"failed,omitempty"` // why nothing can be said
}

// Sum returns the figures of a class.
func (r Report) Sum(class Class) Sum {
	for _, s := range r.Sums {
		if s.Class == class {
			return s
		}
	}
	return Sum{Class: class}
}

// Run takes the inventory. An error means that nothing can be said; with a checkpoint, the next run resumes there.
func (v *Inventory) Run(ctx context.Context) (report Report, err error) {
	spool, err := openSpool(v.Checkpoint, v.site(), v.Now())
	if err != nil {
		return report, err
	}
	complete := false
	defer func() { err = errors.Join(err, spool.close(v.Checkpoint, complete && err == nil)) }()
	roots := v.Locations.Roots()
	for i := spool.ended; i < len(roots); i++ {
		if err := v.list(ctx, spool, roots, i); err != nil {
			return report, err
		}
	}
	r := &reading{Inventory: v, roots: roots, report: Report{Started: spool.head.Started}}
	for _, step := range []func(context.Context) error{r.readRetirees, r.readReferences} {
		if err := step(ctx); err != nil {
			return report, err
		}
	}
	if err := spool.each(r.match); err != nil {
		return report, err
	}
	if err := r.readEvidence(ctx); err != nil {
		return report, err
	}
	if err := spool.each(r.count); err != nil {
		return report, err
	}
	complete = true
	return r.finish(), nil
}

// site identifies the LMS and the locations of a checkpoint.
func (v *Inventory) site() string {
	digest := sha256.New()
	for _, root := range v.Locations.Roots() {
		fmt.Fprintf(digest, "%q %q %q\n", root.Bucket, root.Prefix, root.Kind)
	}
	return fmt.Sprintf("%s and locations %s", v.Site, hex.EncodeToString(digest.Sum(nil))[:12])
}

// list lists one root into the spool, after what an earlier run has listed.
func (v *Inventory) list(ctx context.Context, s *spool, roots []purge.Root, at int) error {
	root, from := roots[at], ""
	resumed := s.last.name
	if resumed != "" {
		from = root.Prefix + resumed
		if dir, isDirectory := strings.CutSuffix(from, "/"); isDirectory {
			from = dir + "0" // the character after the slash, so after everything in the directory
		}
	}
	var current listed
	flush := func() error {
		if current.objects == 0 {
			return nil
		}
		return s.add(current)
	}
	err := v.Bucket.Walk(ctx, root.Directory, from, func(page []purge.Generation) error {
		for _, g := range page {
			name := strings.TrimPrefix(g.Name, root.Prefix)
			if i := strings.IndexByte(name, '/'); i >= 0 {
				name = name[:i+1]
			}
			if name == resumed { // an object beside the directories
				continue
			}
			if name != current.name || current.objects == 0 {
				if err := flush(); err != nil {
					return err
				}
				current = listed{root: at, name: name, oldest: g.Created.Unix(), newest: g.Created.Unix()}
			}
			current.objects++
			current.bytes += g.Size
			current.oldest, current.newest = min(current.oldest, g.Created.Unix()), max(current.newest, g.Created.Unix())
		}
		if v.Progress != nil {
			v.Progress(Progress{
				Objects: s.objects + current.objects, Directories: s.lines,
				Part: (float64(at) + share(current.name)) / float64(len(roots)),
			})
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return errors.Join(err, s.w.Flush())
	}
	return s.end(at)
}

// share is where an id stands among all ids, 0 to 1.
func share(name string) float64 {
	var first [2]byte
	if len(name) < 4 {
		return 0
	}
	if _, err := hex.Decode(first[:], []byte(name[:4])); err != nil {
		return 0
	}
	return float64(int(first[0])<<8|int(first[1])) / 65536
}

// reading is what is read after the listing.
type reading struct {
	*Inventory

	roots    []purge.Root
	retiring []purge.UserID // sorted
	held     ids            // by references
	unheld   ids            // of directories that no reference of a user who is not retiring holds
	report   Report
	sums     map[Class]*Sum
	buckets  map[string]map[Class]*Sum
}

func (r *reading) phase(what string, rows int64) {
	if r.Phase != nil {
		r.Phase(what, rows)
	}
}

func (r *reading) readRetirees(ctx context.Context) error {
	read := int64(0)
	err := r.Database.EachRetiree(ctx, func(retiree purge.Retiree) error {
		if read++; read%10_000 == 0 {
			r.phase("retirement requests", read)
		}
		if r.Eligible(retiree.Retirement) {
			r.retiring = append(r.retiring, retiree.User)
		}
		return nil
	})
	r.report.Retiring = len(r.retiring)
	return err
}

func (r *reading) readReferences(ctx context.Context) error {
	wanted := map[[16]byte]flags{}
	err := r.Database.EachReference(ctx, func(user purge.UserID, ref purge.Reference) error {
		r.report.References++
		if r.report.References%50_000 == 0 {
			r.phase("references", r.report.References)
		}
		whose := ofLive
		if _, due := slices.BinarySearch(r.retiring, user); due {
			whose = ofDue
		}
		target, err := r.Locations.Resolve(ref)
		switch {
		case err != nil:
			r.report.NotUnderstood++
			if whose == ofDue {
				r.report.RetiringNotUnderstood++
			}
		case target.External:
			r.report.External++
		}
		clear(wanted)
		if err == nil && !target.External {
			r.want(target, wanted)
		}
		mysql.IDs(ref, func(id [16]byte) { r.held = append(r.held, entry{key{id: id}, whose | wanted[id]}) })
		return nil
	})
	r.held = r.held.sorted()
	r.phase("references", r.report.References)
	return err
}

// want says in which directories a reference expects files, by the id.
func (r *reading) want(target purge.Target, wanted map[[16]byte]flags) {
	for _, place := range target.Places {
		for _, dir := range place.Downloads {
			if id, ok := idOf(dir); ok {
				wanted[id] |= wantDownload
			}
		}
		if place.Verification != nil && place.Location.Signed {
			if id, ok := idOf(*place.Verification); ok {
				wanted[id] |= wantVerify
			}
		}
	}
}

// idOf is the id at the end of a directory.
func idOf(dir purge.Directory) (id [16]byte, ok bool) {
	return listed{name: dir.Prefix[max(0, len(dir.Prefix)-33):]}.id()
}

// key is that of a directory in unheld. (A site has a few locations; of more than 127, some share their evidence.)
func (r *reading) key(d listed, id [16]byte) key { return key{id, uint8(d.root)} } //nolint:gosec // see above

// match marks the references whose directories hold something, and collects the other directories.
func (r *reading) match(d listed) error {
	id, ok := d.id()
	if !ok {
		return nil
	}
	held := r.held.find(key{id: id})
	if held != nil {
		if r.roots[d.root].Kind == purge.Downloads {
			held.flags |= seenDownload
		} else {
			held.flags |= seenVerify
		}
	}
	if held == nil || held.flags&ofLive == 0 {
		r.unheld = append(r.unheld, entry{key: r.key(d, id)})
	}
	return nil
}

// readEvidence marks the collected directories with what the evidence says about them.
func (r *reading) readEvidence(ctx context.Context) error {
	r.unheld = r.unheld.sorted()
	if len(r.unheld) == 0 {
		return nil
	}
	rows := int64(0)
	return r.Database.EachOutcome(ctx, func(dir purge.Directory, outcome purge.Outcome, at time.Time) error {
		if rows++; rows%50_000 == 0 {
			r.phase("evidence", rows)
		}
		id, ok := idOf(dir)
		if !ok {
			return nil
		}
		dir.Prefix = dir.Prefix[:len(dir.Prefix)-33]
		root := slices.IndexFunc(r.roots, func(root purge.Root) bool { return root.Directory == dir })
		e := r.unheld.find(r.key(listed{root: root}, id))
		switch {
		case e == nil:
		case outcome.Kept():
			e.flags |= protected
		case at.Before(r.report.Started):
			e.flags |= erased
		default:
			e.flags |= purged
		}
		return nil
	})
}

// class decides what a directory is.
func (r *reading) class(d listed) Class {
	id, ok := d.id()
	if !ok {
		return Odd
	}
	held, unheld := r.held.find(key{id: id}), r.unheld.find(r.key(d, id))
	switch {
	case held != nil && held.flags&ofLive != 0:
		return Live
	case unheld.flags&purged != 0:
		return Purged
	case unheld.flags&erased != 0 && unheld.flags&protected == 0:
		return BackAgain
	case held != nil:
		return Due
	case d.newest >= r.report.Started.Add(-r.MinAge).Unix():
		return Young
	default:
		return Orphan
	}
}

// count adds a directory to its class.
func (r *reading) count(d listed) error {
	if r.sums == nil {
		r.sums, r.buckets = map[Class]*Sum{}, map[string]map[Class]*Sum{}
	}
	class, root := r.class(d), r.roots[d.root]
	if r.buckets[root.Bucket] == nil {
		r.buckets[root.Bucket] = map[Class]*Sum{}
	}
	directory := Directory{
		Class: class, Bucket: root.Bucket, Name: root.Prefix + d.name, Objects: d.objects, Bytes: d.bytes,
		Oldest: time.Unix(d.oldest, 0).UTC(), Newest: time.Unix(d.newest, 0).UTC(),
	}
	add(r.sums, directory)
	add(r.buckets[root.Bucket], directory)
	if class.Problem() && r.sums[class].Directories <= maxNames {
		r.report.Names = append(r.report.Names, directory)
	}
	if r.List == nil || r.Want == nil || !r.Want(class) {
		return nil
	}
	return r.List(directory)
}

// add adds a directory to the figures of its class.
func add(sums map[Class]*Sum, d Directory) {
	sum := sums[d.Class]
	if sum == nil {
		sum = &Sum{Class: d.Class}
		sums[d.Class] = sum
	}
	sum.Directories++
	sum.Objects += d.Objects
	sum.Bytes += d.Bytes
	if sum.Oldest == nil || d.Oldest.Before(*sum.Oldest) {
		sum.Oldest = &d.Oldest
	}
	if sum.Newest == nil || d.Newest.After(*sum.Newest) {
		sum.Newest = &d.Newest
	}
}

// inClasses are the figures of all classes, in their order.
func inClasses(sums map[Class]*Sum) (all []Sum) {
	for _, class := range Classes() {
		sum := Sum{Class: class}
		if s := sums[class]; s != nil {
			sum = *s
		}
		all = append(all, sum)
	}
	return all
}

func (r *reading) finish() Report {
	r.report.Sums = inClasses(r.sums)
	for _, name := range slices.Sorted(maps.Keys(r.buckets)) {
		r.report.Buckets = append(r.report.Buckets, BucketSums{name, inClasses(r.buckets[name])})
	}
	for _, e := range r.held {
		if e.flags&wantDownload != 0 && e.flags&seenDownload == 0 {
			r.report.MissingDownloads++
		}
		if e.flags&wantVerify != 0 && e.flags&seenVerify == 0 {
			r.report.MissingVerifications++
		}
	}
	return r.report
}
