package purge

import (
	"fmt"
	"time"
)

// work is what one attempt has to do: directories, and the references that hang on them.
type work struct {
	dirs         []*directory
	refs         []*planned
	certificates map[CertificateID]bool // all that have a reference, understood or not
}

// planned is a reference whose artifacts could be named.
type planned struct {
	Reference
	dirs []*directory
}

// directory is one directory on its way through the three waves.
type directory struct {
	Directory
	owner  Reference // the first reference that leads here; the evidence is written under its certificate
	found  []Generation
	doomed []*doomed
	left   []Generation
	soft   []SoftDeletedObject
	err    error // of either listing
	clear  bool  // settled: nothing is left, references may go
}

// doomed is a generation that nothing protects.
type doomed struct {
	Generation
	err error
}

// plan names the artifacts. References that it cannot understand are problems; they stay as they are.
func (p *Purger) plan(refs []Reference) (*work, []error) {
	w, problems := &work{certificates: map[CertificateID]bool{}}, []error(nil)
	byName := map[Directory]*directory{}
	for _, ref := range refs {
		w.certificates[ref.CertificateID] = true
		names, err := p.Locations.Directories(ref)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		pl := &planned{Reference: ref}
		for _, name := range names {
			d := byName[name]
			if d == nil {
				d = &directory{Directory: name, owner: ref}
				byName[name] = d
				w.dirs = append(w.dirs, d)
			}
			pl.dirs = append(pl.dirs, d)
		}
		w.refs = append(w.refs, pl)
	}
	return w, problems
}

// intents returns what the second wave will delete.
func (w *work) intents() []Evidence {
	var intents []Evidence
	for _, d := range w.dirs {
		if d.err != nil {
			continue
		}
		for _, g := range d.found {
			if !g.Held && g.RetainedUntil.IsZero() {
				d.doomed = append(d.doomed, &doomed{Generation: g})
				intents = append(intents, d.evidence(g, Listed, time.Time{}))
			}
		}
	}
	return intents
}

// deletable returns the generations of the second wave.
func (w *work) deletable() []*doomed {
	var all []*doomed
	for _, d := range w.dirs {
		all = append(all, d.doomed...)
	}
	return all
}

// settle fills the report with outcomes and clearings and returns the problems.
func (w *work) settle(policy Policy, report *Report) []error {
	var problems []error
	for _, d := range w.dirs {
		problems = append(problems, d.settle(policy, report)...)
	}
	clearings := map[clearingKey]int{}
	for _, ref := range w.refs {
		if ref.Table == History && !policy.ClearHistory || !ref.erased() {
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
	for _, d := range r.dirs {
		if !d.clear {
			return false
		}
	}
	return len(r.dirs) > 0
}

// evidence makes the record of one generation of the directory.
func (d *directory) evidence(g Generation, outcome Outcome, until time.Time) Evidence {
	return Evidence{CertificateID: d.owner.CertificateID, Table: d.owner.Table, Generation: g, Outcome: outcome, Until: until}
}

// settle decides what became of one directory. Only a complete listing without a single generation lets it be clear.
func (d *directory) settle(policy Policy, report *Report) []error {
	if d.err != nil {
		for _, g := range d.doomed {
			report.Evidence = append(report.Evidence, d.evidence(g.Generation, NotProven, time.Time{}))
		}
		return []error{fmt.Errorf("listing files of certificate %d: %w", d.owner.CertificateID, d.err)}
	}
	problems := d.settleSoft(policy, report)
	if len(d.left) > 0 {
		return append(problems, d.settleLeft(report)...)
	}
	report.Proven = append(report.Proven, d.Directory)
	report.gone += max(0, len(d.found)-len(d.soft))
	if len(d.found) == 0 && len(d.soft) == 0 {
		nothing := Generation{Directory: d.Directory, Name: d.Prefix}
		report.Evidence = append(report.Evidence, d.evidence(nothing, Absent, time.Time{}))
	}
	d.clear = len(problems) == 0
	return problems
}

// settleSoft reports what was deleted but can be restored. It is a problem unless the configuration accepts it.
func (d *directory) settleSoft(policy Policy, report *Report) []error {
	var problems []error
	for _, s := range d.soft {
		g := Generation{Directory: d.Directory, Name: s.Name, Number: s.Number, Size: s.Size}
		report.Evidence = append(report.Evidence, d.evidence(g, SoftDeleted, s.Until))
		if !policy.AcceptSoftDelete {
			problems = append(problems, &Error{Class: SoftDeleting, Until: s.Until, Text: fmt.Sprintf(
				"a file of certificate %d is soft-deleted and can be restored until %s", d.owner.CertificateID, s.Until.UTC().Format(time.RFC3339))})
		}
	}
	return problems
}

// settleLeft explains the generations that the last listing still shows.
func (d *directory) settleLeft(report *Report) []error {
	type key struct {
		name   string
		number int64
	}
	deletion := map[key]error{}
	for _, g := range d.doomed {
		deletion[key{g.Name, g.Number}] = g.err
	}
	listed := map[key]bool{}
	for _, g := range d.left {
		listed[key{g.Name, g.Number}] = true
	}
	for _, g := range d.doomed {
		if !listed[key{g.Name, g.Number}] { // the rest of the directory does not make it less gone
			report.Evidence = append(report.Evidence, d.evidence(g.Generation, Erased, time.Time{}))
		}
	}
	var problems []error
	for _, g := range d.left {
		id := d.owner.CertificateID
		err, tried := deletion[key{g.Name, g.Number}]
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
			problem = &Error{Class: Transient, Text: fmt.Sprintf("a file of certificate %d was deleted, but is still listed", id)}
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
