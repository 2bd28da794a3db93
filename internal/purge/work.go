package purge

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// work is what one attempt has to do: the directories, and the references whose files are in them.
type work struct {
	dirs         []*directory
	refs         []*planned
	certificates map[CertificateID]bool // all that have a reference, understood or not

	orphansBefore time.Time // only objects that were written before may go; zero for the directories of references
}

// planned is a reference with the directories that its artifacts are in.
type planned struct {
	Reference
	problem  error // why nothing of it is touched: it is not understood, or its directory is another user's, too
	places   []place
	external bool // the link leads to no file of ours
	// missing are the directories in which files were expected and never seen, by kind; set by findMissing.
	missing map[Kind][]*directory
	// refused means that the reference is kept: a missing directory was not accepted, or there is a problem.
	refused bool
}

// place is a Place with the directories of this attempt.
type place struct {
	location     *Location
	downloads    []*directory
	verification *directory // nil if there is none
}

// directory is one directory on its way through the first listing, the deletes and the second listing.
type directory struct {
	Directory
	owner     Reference // the first reference that leads here; the evidence is written under its certificate
	found     []Generation
	deletions []*deletion
	left      []Generation
	soft      []SoftDeletedObject
	emptied   bool    // the evidence shows that there were files of this user here
	missing   Outcome // Missing or MissingAccepted, if files were expected here and never seen
	accepter  string  // of MissingAccepted
	sharing   string  // who accepted that it is erased although a row of another user names it, too
	leave     Outcome // why nothing is deleted: a directory of an OrphanSet that is no orphan
	err       error   // of either listing
	softErr   error   // of the soft-deleted listing, until verify adds it to err
	clear     bool    // nothing is left, references may be cleared
	listings  []Listing
}

// deletion is a generation that nothing protects.
type deletion struct {
	Generation
	err error
}

// plan finds the directories of all references. A reference has a problem if it is not understood, or if its directory
// is another user's, too; it is kept, and none of its directories is listed.
func (p *Purger) plan(ctx context.Context, refs []Reference, attempt Attempt) (*work, error) {
	w := &work{certificates: map[CertificateID]bool{}}
	targets, ids := make([]Target, len(refs)), []string(nil)
	for i, ref := range refs {
		w.certificates[ref.CertificateID] = true
		target, err := p.Locations.Resolve(ref)
		w.refs = append(w.refs, &planned{Reference: ref, external: target.External, problem: err, refused: err != nil})
		targets[i] = target
		ids = append(ids, target.IDs...)
	}
	shared, err := p.sharing(ctx, attempt, ids)
	if err != nil {
		return nil, err
	}
	byName := map[Directory]*directory{}
	for i, pl := range w.refs {
		if pl.problem != nil {
			continue
		}
		accepter := ""
		if others := targets[i].sharedWith(shared); len(others) > 0 {
			if accepter = attempt.AcceptShared; accepter == "" {
				pl.problem, pl.refused = sharedError(pl.Reference, attempt.User, others), true
				continue
			}
		}
		directoryOf := func(name Directory) *directory {
			d := byName[name]
			if d == nil {
				d = &directory{Directory: name, owner: pl.Reference, sharing: accepter}
				byName[name] = d
				w.dirs = append(w.dirs, d)
			}
			return d
		}
		for _, t := range targets[i].Places {
			at := place{location: t.Location}
			for _, name := range t.Downloads {
				at.downloads = append(at.downloads, directoryOf(name))
			}
			if t.Verification != nil {
				at.verification = directoryOf(*t.Verification)
			}
			pl.places = append(pl.places, at)
		}
	}
	return w, nil
}

// sharing reads which rows of other users name the directories, unless the settings accept shared directories.
func (p *Purger) sharing(ctx context.Context, attempt Attempt, ids []string) ([]Shared, error) {
	slices.Sort(ids)
	if ids = slices.Compact(ids); len(ids) == 0 || p.Policy.AcceptShared {
		return nil, nil
	}
	return p.Users.Sharing(ctx, attempt.User, ids)
}

// sharedWith returns the other users of a target's directories, each once.
func (t Target) sharedWith(shared []Shared) []UserID {
	var others []UserID
	for _, s := range shared {
		if slices.Contains(t.IDs, s.ID) && !slices.Contains(others, s.Other) {
			others = append(others, s.Other)
		}
	}
	slices.Sort(others)
	return others
}

// sharedError is the problem of a reference whose directory is, or was, named by another user's row, too.
func sharedError(ref Reference, user UserID, others []UserID) error {
	return &Error{Class: SharedDirectory, Text: fmt.Sprintf(
		"certificate %d of user %d names a directory that a row of %s names, too, or did: nothing in it was deleted",
		ref.CertificateID, user, list("user", others))}
}

// intents decides what the attempt will delete, and returns it as evidence.
func (w *work) intents() []Evidence {
	var intents []Evidence
	for _, d := range w.dirs {
		if d.err != nil || d.leave != "" {
			continue
		}
		for _, g := range d.found {
			if !g.Held && g.RetainedUntil.IsZero() {
				d.deletions = append(d.deletions, &deletion{Generation: g})
				intents = append(intents, d.evidence(g, Listed, time.Time{}))
			}
		}
	}
	return intents
}

// empty returns the directories in which the first listing showed no file.
func (w *work) empty() []Directory {
	var empty []Directory
	for _, d := range w.dirs {
		if d.err == nil && !d.holdsFile() && d.leave == "" {
			empty = append(empty, d.Directory)
		}
	}
	return empty
}

// deletions returns the generations to delete.
func (w *work) deletions() []*deletion {
	var all []*deletion
	for _, d := range w.dirs {
		if d.leave == "" {
			all = append(all, d.deletions...)
		}
	}
	return all
}

// fillReport fills the report with outcomes and clearings and returns the problems.
func (w *work) fillReport(p *Purger, attempt Attempt, report *Report) []error {
	problems := w.decideMissing(p, attempt)
	for _, ref := range w.refs {
		if ref.problem != nil {
			problems = append(problems, ref.problem)
		}
	}
	for _, d := range w.dirs {
		if d.leave != "" {
			problems = append(problems, d.reportLeave(report))
			continue
		}
		problems = append(problems, d.decide(p.Policy, report)...)
	}
	clearings := map[clearingKey]int{}
	for _, ref := range w.refs {
		if !ref.erased() {
			continue
		}
		if ref.external {
			report.Evidence = append(report.Evidence, Evidence{
				CertificateID: ref.CertificateID, Table: ref.Table, Outcome: External,
				Generation: Generation{Name: fmt.Sprintf("link of certificate %d (%s)", ref.CertificateID, ref.Table)},
			})
		}
		if ref.Table == History && !p.Policy.ClearHistory {
			continue
		}
		if ref.external && !p.Policy.ClearExternal {
			report.Keep = append(report.Keep, ref.Reference)
			continue
		}
		key := clearingKey{ref.CertificateID, ref.Table}
		at, ok := clearings[key]
		if !ok {
			at = len(report.Clear)
			clearings[key] = at
			report.Clear = append(report.Clear, Clearing{CertificateID: ref.CertificateID, Table: ref.Table})
		}
		report.Clear[at].References = append(report.Clear[at].References, ref.Reference)
	}
	report.Certificates = len(w.certificates)
	return problems
}

// erased reports whether every artifact of the reference is proven to be gone.
func (r *planned) erased() bool {
	for _, d := range r.directories() {
		if !d.clear {
			return false
		}
	}
	return !r.refused
}

func (r *planned) directories() []*directory {
	var all []*directory
	for _, at := range r.places {
		all = append(all, at.downloads...)
		if at.verification != nil {
			all = append(all, at.verification)
		}
	}
	return all
}

// evidence makes the record of one generation of the directory.
func (d *directory) evidence(g Generation, outcome Outcome, until time.Time) Evidence {
	return Evidence{
		CertificateID: d.owner.CertificateID, Table: d.owner.Table, Generation: g, Outcome: outcome, Until: until,
		AcceptedBy: d.sharing,
	}
}

// decide returns the outcome of one directory. It is clear only after a complete listing without a single generation.
func (d *directory) decide(policy Policy, report *Report) []error {
	if d.err != nil {
		for _, g := range d.deletions {
			report.Evidence = append(report.Evidence, d.evidence(g.Generation, NotProven, time.Time{}))
		}
		return []error{fmt.Errorf("listing files of certificate %d: %w", d.owner.CertificateID, d.err)}
	}
	problems := d.reportSoftDeleted(policy, report)
	if len(d.left) > 0 {
		return append(problems, d.reportLeft(report)...)
	}
	report.Proven = append(report.Proven, d.Directory)
	for _, g := range d.deletions {
		if !slices.ContainsFunc(d.soft, func(s SoftDeletedObject) bool { return s.Name == g.Name && s.Number == g.Number }) {
			report.Evidence = append(report.Evidence, d.evidence(g.Generation, Erased, time.Time{}))
		}
	}
	if !d.seen() && (d.missing != "" || len(d.found) == 0) {
		nothing := d.evidence(Generation{Directory: d.Directory, Name: d.Prefix}, cmp.Or(d.missing, Absent), time.Time{})
		nothing.AcceptedBy = cmp.Or(d.accepter, d.sharing)
		report.Evidence = append(report.Evidence, nothing)
	}
	d.clear = len(problems) == 0
	return problems
}

// reportSoftDeleted reports what was deleted but can be restored. It is a problem unless the configuration accepts it.
func (d *directory) reportSoftDeleted(policy Policy, report *Report) []error {
	var problems []error
	for _, s := range d.soft {
		g := Generation{Directory: d.Directory, Name: s.Name, Number: s.Number, Size: s.Size}
		report.Evidence = append(report.Evidence, d.evidence(g, SoftDeleted, s.Until))
		if !policy.AcceptSoftDelete {
			problems = append(problems, &Error{Class: SoftDeleting, Until: s.Until, Text: fmt.Sprintf(
				"a file of certificate %d is soft-deleted and can be restored until %s", d.owner.CertificateID,
				s.Until.UTC().Format(time.RFC3339))})
		}
	}
	return problems
}

// reportLeft explains the generations that the last listing still shows.
func (d *directory) reportLeft(report *Report) []error {
	type key struct {
		name   string
		number int64
	}
	deleted := map[key]error{}
	for _, g := range d.deletions {
		deleted[key{g.Name, g.Number}] = g.err
	}
	listed := map[key]bool{}
	for _, g := range d.left {
		listed[key{g.Name, g.Number}] = true
	}
	for _, g := range d.deletions {
		if !listed[key{g.Name, g.Number}] { // this one is gone, even if others are left
			report.Evidence = append(report.Evidence, d.evidence(g.Generation, Erased, time.Time{}))
		}
	}
	var problems []error
	for _, g := range d.left {
		id := d.owner.CertificateID
		err, tried := deleted[key{g.Name, g.Number}]
		outcome, until := NotProven, time.Time{}
		var problem error
		switch {
		case g.Held:
			outcome = HeldBack
			problem = &Error{Class: Held, Text: fmt.Sprintf("a hold protects a file of certificate %d", id)}
		case !g.RetainedUntil.IsZero():
			outcome, until = KeptUntil, g.RetainedUntil
			problem = &Error{Class: Retained, Until: until, Text: fmt.Sprintf(
				"a file of certificate %d is retained until %s", id, until.UTC().Format(time.RFC3339))}
		case err != nil:
			problem = fmt.Errorf("deleting a file of certificate %d: %w", id, err)
		case tried:
			problem = &Error{Class: Transient, Text: fmt.Sprintf("a file of certificate %d was deleted, but is still listed",
				id)}
		default:
			problem = &Error{Class: Transient, Text: fmt.Sprintf("a file of certificate %d appeared meanwhile", id)}
		}
		report.Evidence = append(report.Evidence, d.evidence(g, outcome, until))
		problems = append(problems, problem)
	}
	return problems
}

type clearingKey struct {
	certificate CertificateID
	table       Table
}
