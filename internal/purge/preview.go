package purge

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// EmptiedReader is what a preview reads of the ledger.
type EmptiedReader interface {
	// Emptied returns those of the directories of which the evidence says that they were emptied for the user: those that
	// Intended.Emptied would name.
	Emptied(ctx context.Context, user UserID, dirs []Directory) ([]Directory, error)
}

// Preview is what a purge would find and do at this moment.
type Preview struct {
	Attempt Attempt
	User    User // as it was read; UserExists is false for a user that the LMS does not have
	// State, Reason, Detail and NotBefore are those in which the attempt would leave the request.
	State       State
	Reason      Reason
	Detail      string
	NotBefore   time.Time
	References  []PreviewReference
	Directories []PreviewDirectory
}

// PreviewReference is a reference and what would become of it.
type PreviewReference struct {
	Reference
	Locations   []string // names of the locations in which its files may be; none if it is not understood
	External    bool     // the link leads to no file of ours
	Cleared     bool
	Kept        string // why it would not be cleared
	Directories []Directory
}

// PreviewDirectory is a directory and what would become of everything in it.
type PreviewDirectory struct {
	Directory
	Kind        Kind
	Certificate CertificateID // under which the evidence would be written
	Emptied     bool          // the evidence says that it was emptied for this user before
	// Outcome is Absent, Missing or MissingAccepted where nothing was found and nothing was emptied before; else empty.
	Outcome    Outcome
	AcceptedBy string
	Problem    string // why it could not be listed; empty if it was
	Objects    []PreviewObject
}

// PreviewObject is a generation, and the outcome that the evidence would give it.
type PreviewObject struct {
	Generation
	Outcome Outcome
	Until   time.Time // for SoftDeleted and KeptUntil
}

// Preview does what Purge does, but with a ledger and a store to which nothing is written: deletes succeed in memory,
// and what they hid is taken out of the second listing. softDelete says for how long a bucket keeps deleted objects
// restorable. The attempt says what is accepted. An error means that a database could not be read; what the bucket
// answers is part of the preview.
func (p *Purger) Preview(
	ctx context.Context, attempt Attempt, history EmptiedReader, softDelete func(bucket string) time.Duration,
) (Preview, error) {
	users := &keptUser{Users: p.Users}
	dry := *p
	dry.Users, dry.Misses, dry.Observer = users, nil, nil
	dry.Ledger = &dryLedger{users: p.Users, history: history}
	dry.Objects = &dryObjects{
		Objects: p.Objects, softDelete: softDelete, now: p.Now, listed: map[Directory][]Generation{},
		deleted: map[generationKey]bool{},
	}
	report, work, err := dry.attempt(ctx, attempt)
	if err != nil && ClassOf(err) == Unavailable {
		return Preview{}, err
	}
	preview := Preview{
		Attempt: attempt, User: users.user, State: report.State, Reason: report.Reason, Detail: report.Detail,
		NotBefore: report.NotBefore,
	}
	if work == nil {
		return preview, nil
	}
	outcomes := map[generationKey]Evidence{}
	for _, e := range report.Evidence {
		outcomes[keyOf(e.Generation)] = e
	}
	for _, ref := range work.refs {
		preview.References = append(preview.References, p.previewReference(ref, report))
	}
	for _, d := range work.dirs {
		preview.Directories = append(preview.Directories, d.preview(outcomes, work.kindOf(d)))
	}
	return preview, nil
}

func (p *Purger) previewReference(ref *planned, report Report) PreviewReference {
	r := PreviewReference{Reference: ref.Reference, External: ref.external}
	for _, at := range ref.places {
		r.Locations = append(r.Locations, at.location.Name)
	}
	for _, d := range ref.directories() {
		r.Directories = append(r.Directories, d.Directory)
	}
	r.Cleared = slices.ContainsFunc(report.Clear,
		func(c Clearing) bool { return slices.Contains(c.References, ref.Reference) })
	switch {
	case r.Cleared:
	case ref.problem != nil:
		r.Kept = ref.problem.Error()
	case len(ref.missing) > 0 && ref.refused:
		r.Kept = "files are missing in the " + missingKinds(ref.missing) + " directory, and nothing was ever erased there"
	case !ref.erased():
		r.Kept = "not every file of it would be gone"
	case ref.Table == History && !p.Policy.ClearHistory:
		r.Kept = "rows of the history are not cleared (lms.clear_history)"
	default:
		r.Kept = "the link leads to no file of ours (external_links)"
	}
	return r
}

func missingKinds(missing map[Kind][]*directory) string {
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(missing)) {
		kinds = append(kinds, string(kind))
	}
	return strings.Join(kinds, " and the ")
}

// kindOf is the kind of a directory of the work.
func (w *work) kindOf(d *directory) Kind {
	for _, ref := range w.refs {
		for _, at := range ref.places {
			if at.verification == d {
				return Verification
			}
		}
	}
	return Downloads
}

func (d *directory) preview(outcomes map[generationKey]Evidence, kind Kind) PreviewDirectory {
	shown := PreviewDirectory{
		Directory: d.Directory, Kind: kind, Certificate: d.owner.CertificateID, Emptied: d.emptied,
		AcceptedBy: d.sharing,
	}
	if d.err != nil {
		shown.Problem = d.err.Error()
	}
	for _, g := range d.found {
		object := PreviewObject{Generation: g, Outcome: Erased} // proven, like all of which there is no other evidence
		if e, ok := outcomes[keyOf(g)]; ok {
			object.Outcome, object.Until = e.Outcome, e.Until
		}
		shown.Objects = append(shown.Objects, object)
	}
	for _, s := range d.soft {
		g := Generation{Directory: d.Directory, Name: s.Name, Number: s.Number, Size: s.Size}
		if !slices.ContainsFunc(d.found, func(f Generation) bool { return keyOf(f) == keyOf(g) }) {
			shown.Objects = append(shown.Objects, PreviewObject{Generation: g, Outcome: SoftDeleted, Until: s.Until})
		}
	}
	if e, ok := outcomes[generationKey{d.Directory, d.Prefix, 0}]; ok {
		shown.Outcome, shown.AcceptedBy = e.Outcome, e.AcceptedBy
	}
	return shown
}

// generationKey identifies a generation.
type generationKey struct {
	dir    Directory
	name   string
	number int64
}

func keyOf(g Generation) generationKey { return generationKey{g.Directory, g.Name, g.Number} }

// keptUser remembers the user that was read.
type keptUser struct {
	Users
	user User
}

func (u *keptUser) User(ctx context.Context, id UserID) (User, error) {
	user, err := u.Users.User(ctx, id)
	u.user = user
	return user, err
}

// dryLedger answers as the ledger does, and writes nothing.
type dryLedger struct {
	Ledger // none of its other methods is called by an attempt

	users   Users
	history EmptiedReader
}

func (l *dryLedger) Intend(ctx context.Context, attempt Attempt, _ []Evidence, empty []Directory) (Intended, error) {
	user, err := l.users.User(ctx, attempt.User)
	if err != nil {
		return Intended{}, err
	}
	intended := Intended{Retirement: user.Retirement}
	if len(empty) > 0 {
		intended.Emptied, err = l.history.Emptied(ctx, attempt.User, empty)
	}
	return intended, err
}

// dryObjects lists the bucket, and deletes in memory only.
type dryObjects struct {
	Objects

	softDelete func(bucket string) time.Duration
	now        func() time.Time

	mu      sync.Mutex
	listed  map[Directory][]Generation
	deleted map[generationKey]bool
}

// List asks the bucket once for each directory.
func (o *dryObjects) List(ctx context.Context, dir Directory) ([]Generation, error) {
	o.mu.Lock()
	found, again := o.listed[dir]
	o.mu.Unlock()
	if !again {
		var err error
		if found, err = o.Objects.List(ctx, dir); err != nil {
			return nil, err
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.listed[dir] = found
	return slices.DeleteFunc(slices.Clone(found), func(g Generation) bool { return o.deleted[keyOf(g)] }), nil
}

func (o *dryObjects) Delete(_ context.Context, g Generation) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.deleted[keyOf(g)] = true
	return nil
}

// SoftDeleted adds what the deletes would leave behind.
func (o *dryObjects) SoftDeleted(
	ctx context.Context, dir Directory, since time.Time,
) ([]SoftDeletedObject, error) {
	soft, err := o.Objects.SoftDeleted(ctx, dir, since)
	if err != nil {
		return nil, err
	}
	keep := o.softDelete(dir.Bucket)
	if keep == 0 {
		return soft, nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, g := range o.listed[dir] {
		if o.deleted[keyOf(g)] {
			soft = append(soft, SoftDeletedObject{Name: g.Name, Number: g.Number, Size: g.Size, Until: o.now().Add(keep)})
		}
	}
	return soft, nil
}
