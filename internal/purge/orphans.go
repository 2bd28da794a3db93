package purge

import (
	"context"
	"fmt"
	"path"
	"strings"
	"time"
)

// OrphanSet is the directories of one request that is about no user: an operator has reviewed that no link leads to
// them.
type OrphanSet struct {
	Directories []Directory
	Before      time.Time // a directory with an object that was written at this time or later is left
}

// MaxOrphans is how many directories one request is about at most.
const MaxOrphans = 500

// Orphans reads what a request about orphans needs.
type Orphans interface {
	// OrphanSet returns the directories of a set.
	OrphanSet(ctx context.Context, set CertificateID) (OrphanSet, error)
	// Referenced returns those of the ids, 32 lower-case hexadecimal digits each, that any row of the LMS with a reference
	// holds at this moment, live or in the history, in any of its columns.
	Referenced(ctx context.Context, ids []string) (map[string]bool, error)
}

// OrphanKey is the idempotency key of a set of orphans: a part of a file with this fingerprint.
func OrphanKey(fingerprint string, part int) string {
	return fmt.Sprintf("orphans:%s:%d", fingerprint, part)
}

// AboutOrphans reports whether a task is about a set of orphans; Certificate is then the number of the set.
func (t Task) AboutOrphans() bool { return t.User == 0 && t.Certificate != 0 }

// planOrphans finds the directories of a set. A directory is left if a row holds its id by now, or if it is below no
// location.
func (p *Purger) planOrphans(ctx context.Context, attempt Attempt) (*work, error) {
	if p.Orphans == nil {
		return nil, &Error{Class: Misconfigured, Text: "this worker does not erase orphans"}
	}
	set, err := p.Orphans.OrphanSet(ctx, attempt.Certificate)
	if err != nil {
		return nil, err
	}
	w := &work{orphansBefore: set.Before, certificates: map[CertificateID]bool{}}
	for _, name := range set.Directories {
		d := &directory{Directory: name, owner: Reference{Table: NoTable}}
		if !p.Locations.Owns(name) {
			d.leave = Foreign
		}
		w.dirs = append(w.dirs, d)
	}
	return w, p.leaveReferenced(ctx, w)
}

// leaveReferenced leaves the directories whose id a row holds now.
func (p *Purger) leaveReferenced(ctx context.Context, w *work) error {
	var ids []string
	for _, d := range w.dirs {
		if d.leave == "" {
			ids = append(ids, d.id())
		}
	}
	if len(ids) == 0 {
		return nil
	}
	referenced, err := p.Orphans.Referenced(ctx, ids)
	if err != nil {
		return err
	}
	for _, d := range w.dirs {
		if d.leave == "" && referenced[d.id()] {
			d.leave = Referenced
		}
	}
	return nil
}

// leaveYoung leaves the directories in which an object is too young.
func (w *work) leaveYoung() {
	for _, d := range w.dirs {
		for _, g := range d.found {
			if d.leave == "" && !g.Created.Before(w.orphansBefore) {
				d.leave = TooYoung
			}
		}
	}
}

// id is what the directory is named by.
func (d *directory) id() string { return path.Base(strings.TrimSuffix(d.Prefix, "/")) }

// reportLeave reports a directory that was left.
func (d *directory) reportLeave(report *Report) error {
	report.Evidence = append(report.Evidence, d.evidence(Generation{Directory: d.Directory, Name: d.Prefix}, d.leave,
		time.Time{}))
	for _, g := range d.deletions { // written down, and not deleted
		report.Evidence = append(report.Evidence, d.evidence(g.Generation, d.leave, time.Time{}))
	}
	why := map[Outcome]string{
		Referenced: "a row of the LMS holds the id", TooYoung: "an object in it is too young",
		Foreign: "it is below no location",
	}[d.leave]
	return &Error{Class: NotOrphan, Text: "a directory was left, because " + why}
}
