package evidence

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// Row is the latest that is known of one object generation, or of one directory that held none, in one request.
type Row struct {
	Request      purge.RequestID
	User         purge.UserID
	Certificate  purge.CertificateID
	Table        purge.Table
	Attempt      int
	Directory    purge.Directory
	Name         string // full; the directory's prefix for a directory
	Generation   int64  // 0 for a directory
	Size         int64
	CacheControl string
	Outcome      purge.Outcome
	Until        time.Time
	AcceptedBy   string
	ListedAt     time.Time
	SettledAt    time.Time // zero for an intent that no record has followed yet
	Document     int64     // the number of the one that has settled it
}

// Clearing is how many references of one certificate in one table a request has cleared.
type Clearing struct {
	Request     purge.RequestID
	User        purge.UserID
	Certificate purge.CertificateID
	Table       purge.Table
	Attempt     int
	References  int
	At          time.Time
	Document    int64
}

type rowKey struct {
	request      purge.RequestID
	bucket, name string
	generation   int64
}

// History is all that documents say about the requests of one user, or about one request for orphans. Documents are
// added in the order in which they were written.
type History struct {
	rows    []*Row
	byKey   map[rowKey]*Row
	cleared []*Clearing
}

// Rows are the outcomes, in the order in which they were first written.
func (h *History) Rows() []*Row { return h.rows }

// Clearings are the references that were cleared, in the order in which they were first written.
func (h *History) Clearings() []*Clearing { return h.cleared }

// AddRow adds what an earlier version has written. What is there already is replaced by what was settled later.
func (h *History) AddRow(r Row) {
	before := h.find(rowKey{r.Request, r.Directory.Bucket, r.Name, r.Generation})
	switch {
	case before == nil:
		h.insert(r)
	case r.SettledAt.After(before.SettledAt):
		*before = r
	}
}

// AddClearing adds what an earlier version has written.
func (h *History) AddClearing(c Clearing) {
	before := h.clearing(c.Request, c.Certificate, c.Table)
	switch {
	case before == nil:
		h.cleared = append(h.cleared, &c)
	case c.At.After(before.At):
		*before = c
	}
}

func (h *History) find(key rowKey) *Row { return h.byKey[key] }

func (h *History) insert(r Row) {
	if h.byKey == nil {
		h.byKey = map[rowKey]*Row{}
	}
	kept := &r
	h.byKey[rowKey{r.Request, r.Directory.Bucket, r.Name, r.Generation}] = kept
	h.rows = append(h.rows, kept)
}

func (h *History) clearing(request purge.RequestID, certificate purge.CertificateID, table purge.Table) *Clearing {
	for _, c := range h.cleared {
		if c.Request == request && c.Certificate == certificate && c.Table == table {
			return c
		}
	}
	return nil
}

// Add adds a document, whose number in the ledger is given, and returns the rows that it has settled although they were
// written by earlier documents: files that an attempt had listed and died before it recorded, now that their directory
// has been shown empty.
func (h *History) Add(number int64, d *Document) (settled []*Row) {
	if d.Part == Migrated {
		h.addMigrated(number, d)
		return nil
	}
	for _, dir := range d.Directories {
		name := purge.Directory{Bucket: dir.Bucket, Prefix: dir.Prefix}
		if dir.Outcome != "" {
			h.write(number, d, Row{
				Directory: name, Name: dir.Prefix, Certificate: dir.CertificateID, Table: dir.Table, Outcome: dir.Outcome,
				AcceptedBy: dir.AcceptedBy,
			}, Written{})
		}
		for _, g := range dir.Generations {
			h.write(number, d, g.row(name, dir), g.Written)
		}
	}
	if d.Part != Record {
		return nil
	}
	for _, dir := range d.Directories {
		if dir.Proven {
			settled = append(settled, h.prove(number, d, purge.Directory{Bucket: dir.Bucket, Prefix: dir.Prefix})...)
		}
	}
	for _, l := range d.Links {
		h.addLink(number, d, l)
	}
	for _, r := range h.rows { // the files were somewhere else, and are erased there; or it was accepted
		if r.Request == d.Request.ID && r.Outcome == purge.Missing &&
			slices.Contains(d.MissingResolved, r.Certificate) {
			r.Outcome = purge.Absent
		}
	}
	return settled
}

// addMigrated adds what an earlier version has written, with the times and attempts at which it was.
func (h *History) addMigrated(number int64, d *Document) {
	add := func(r Row, w Written) {
		r.Request, r.User, r.Attempt, r.Document = d.Request.ID, d.Request.UserID, w.Attempt, number
		if w.ListedAt != nil {
			r.ListedAt = *w.ListedAt
		}
		if w.SettledAt != nil {
			r.SettledAt = *w.SettledAt
		}
		h.AddRow(r)
	}
	for _, dir := range d.Directories {
		name := purge.Directory{Bucket: dir.Bucket, Prefix: dir.Prefix}
		if dir.Outcome != "" {
			add(Row{
				Directory: name, Name: dir.Prefix, Certificate: dir.CertificateID, Table: dir.Table, Outcome: dir.Outcome,
				AcceptedBy: dir.AcceptedBy,
			}, dir.Written)
		}
		for _, g := range dir.Generations {
			add(g.row(name, dir), g.Written)
		}
	}
	for _, l := range d.Links {
		if l.External {
			add(Row{
				Name: ExternalName(l.CertificateID, l.Table), Certificate: l.CertificateID, Table: l.Table,
				Outcome: purge.External,
			}, l.Written)
		}
		if l.Cleared > 0 && l.SettledAt != nil {
			h.AddClearing(Clearing{
				Request: d.Request.ID, User: d.Request.UserID, Certificate: l.CertificateID, Table: l.Table,
				Attempt: l.Attempt, References: l.Cleared, At: *l.SettledAt, Document: number,
			})
		}
	}
}

func (g Generation) row(dir purge.Directory, at Directory) Row {
	generation, _ := strconv.ParseInt(g.Number, 10, 64) // Encode wrote it
	r := Row{
		Directory: dir, Name: dir.Prefix + g.Name, Generation: generation, Certificate: at.CertificateID, Table: at.Table,
		Size: g.Size, CacheControl: g.CacheControl, Outcome: g.Outcome, AcceptedBy: g.AcceptedBy,
	}
	if g.Until != nil {
		r.Until = *g.Until
	}
	return r
}

// write adds a row, or says what has become of it. Erased is final, because a generation never comes back; only that it
// can be restored may still be found out.
func (h *History) write(number int64, d *Document, r Row, written Written) {
	r.Request, r.User, r.Attempt, r.ListedAt = d.Request.ID, d.Request.UserID, d.Attempt, d.At
	if written.RequestID != 0 {
		r.Request = written.RequestID
	}
	if d.Part == Record {
		r.SettledAt, r.Document = d.At, number
	}
	before := h.find(rowKey{r.Request, r.Directory.Bucket, r.Name, r.Generation})
	switch {
	case r.Outcome == purge.Absent && h.knows(r.Directory):
		// A directory that was emptied for this user before is not one that held nothing.
	case before == nil:
		if written.ListedAt != nil {
			r.ListedAt = *written.ListedAt
		}
		h.insert(r)
	case before.Outcome == purge.Erased && r.Outcome != purge.SoftDeleted:
	default:
		r.ListedAt = before.ListedAt
		*before = r
	}
}

// knows reports whether there is evidence of a directory already.
func (h *History) knows(dir purge.Directory) bool {
	return slices.ContainsFunc(h.rows, func(r *Row) bool { return r.Directory == dir })
}

// prove settles what was listed in a directory that is shown empty now, in whichever request; but for what can still be
// restored.
func (h *History) prove(number int64, d *Document, dir purge.Directory) (settled []*Row) {
	for _, r := range h.rows {
		restorable := r.Outcome == purge.SoftDeleted && r.Until.After(d.At)
		if r.Directory != dir || r.Outcome == purge.Erased || !r.Outcome.Emptied() || restorable {
			continue
		}
		r.Outcome, r.Until, r.Attempt, r.SettledAt, r.Document = purge.Erased, time.Time{}, d.Attempt, d.At, number
		settled = append(settled, r)
	}
	return settled
}

func (h *History) addLink(number int64, d *Document, l Link) {
	if l.External {
		name := ExternalName(l.CertificateID, l.Table)
		h.write(number, d, Row{Name: name, Certificate: l.CertificateID, Table: l.Table, Outcome: purge.External}, Written{})
	}
	if l.Cleared == 0 {
		return
	}
	c := h.clearing(d.Request.ID, l.CertificateID, l.Table)
	if c == nil {
		c = &Clearing{Request: d.Request.ID, User: d.Request.UserID, Certificate: l.CertificateID, Table: l.Table}
		h.cleared = append(h.cleared, c)
	}
	c.References += l.Cleared
	c.Attempt, c.At, c.Document = d.Attempt, d.At, number
}

// ExternalName is what stands in the place of an object's name for a link that leads to no file of ours.
func ExternalName(certificate purge.CertificateID, table purge.Table) string {
	return "link of certificate " + strconv.FormatInt(int64(certificate), 10) + " (" + string(table) + ")"
}

// Counts are the figures of a request, and until when something of it can be restored; zero if nothing can.
func (h *History) Counts(request purge.RequestID) (counts purge.Counts, recoverable time.Time) {
	certificates := map[purge.CertificateID]bool{}
	for _, r := range h.rows {
		if r.Request != request {
			continue
		}
		if r.Certificate != 0 {
			certificates[r.Certificate] = true
		}
		switch r.Outcome {
		case purge.Erased:
			counts.ObjectsErased++
		case purge.Absent:
			counts.ObjectsAbsent++
		case purge.SoftDeleted:
			counts.ObjectsSoftDeleted++
			if r.Until.After(recoverable) {
				recoverable = r.Until
			}
		case purge.Missing, purge.MissingAccepted:
			counts.DirectoriesMissing++
		default:
		}
	}
	counts.Certificates = len(certificates)
	for _, c := range h.cleared {
		if c.Request == request {
			counts.ReferencesCleared += c.References
		}
	}
	return counts, recoverable
}

// Emptied returns those of the directories that were emptied: a file there was about to be deleted, and none was left
// because something protected it.
func (h *History) Emptied(dirs []purge.Directory) []purge.Directory {
	emptied, kept := map[purge.Directory]bool{}, map[purge.Directory]bool{}
	for _, r := range h.rows {
		emptied[r.Directory] = emptied[r.Directory] ||
			r.Outcome.Emptied() && !purge.IsPlaceholder(r.Name)
		kept[r.Directory] = kept[r.Directory] || r.Outcome.Kept()
	}
	return slices.DeleteFunc(slices.Clone(dirs), func(dir purge.Directory) bool { return !emptied[dir] || kept[dir] })
}

// Settle adds to a document the rows that it has settled although others had written them, so that it can stand alone.
func (d *Document) Settle(rows []*Row) {
	for _, r := range rows {
		at := d.directory(r.Directory)
		g := Generation{
			Name: strings.TrimPrefix(r.Name, at.Prefix), Number: strconv.FormatInt(r.Generation, 10), Size: r.Size,
			CacheControl: r.CacheControl, Outcome: r.Outcome, Until: moment(r.Until), AcceptedBy: r.AcceptedBy,
			Written: Written{ListedAt: moment(r.ListedAt)},
		}
		if r.Request != d.Request.ID {
			g.RequestID = r.Request
		}
		at.Generations = append(at.Generations, g)
	}
}
