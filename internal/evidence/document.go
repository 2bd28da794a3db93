package evidence

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/certpurge/certpurge/internal/purge"
)

// Version is that of the documents' schema, docs/evidence.schema.json.
const Version = 1

// Part says which part of an attempt a document is.
type Part string

// The parts.
const (
	Intents  Part = "intents"  // what is about to be deleted; written before the first delete
	Record   Part = "record"   // what was seen, deleted, proven and cleared
	Migrated Part = "migrated" // what earlier versions had written in tables of rows
)

// Document is one piece of evidence. It holds numeric ids, object names, and the accounts of operators; no name,
// address or link of a learner.
type Document struct {
	Version     int          `json:"version"`
	Part        Part         `json:"part"`
	Request     Request      `json:"request"`
	Attempt     int          `json:"attempt"`
	Began       *time.Time   `json:"began,omitempty"` // when the attempt was claimed
	At          time.Time    `json:"at"`              // when the document was made
	Worker      string       `json:"worker,omitempty"`
	Software    string       `json:"software,omitempty"`
	State       purge.State  `json:"state,omitempty"` // in which the attempt asked the request to be left
	Reason      purge.Reason `json:"reason,omitempty"`
	Detail      string       `json:"detail,omitempty"`
	Buckets     []Bucket     `json:"buckets,omitempty"`
	Directories []Directory  `json:"directories,omitempty"`
	Links       []Link       `json:"links,omitempty"`
	// MissingResolved are certificates of which files were missing until this attempt, which cleared their references.
	MissingResolved []purge.CertificateID `json:"missing_resolved,omitempty"`
}

// Request is what the ledger says of the request.
type Request struct {
	ID            purge.RequestID     `json:"id"`
	UserID        purge.UserID        `json:"user_id"`
	CertificateID purge.CertificateID `json:"certificate_id,omitempty"`
	Source        purge.Source        `json:"source,omitempty"`
	RequestedBy   string              `json:"requested_by,omitempty"`
	RequestedAt   *time.Time          `json:"requested_at,omitempty"`
	Ticket        string              `json:"ticket,omitempty"`
	ReopenedBy    string              `json:"reopened_by,omitempty"`
}

// Bucket is the settings of a bucket as they were read for the attempt. Times are in seconds.
type Bucket struct {
	Name              string `json:"bucket"`
	Versioning        bool   `json:"versioning"`
	SoftDelete        int64  `json:"soft_delete_seconds"`
	SoftDeleteUnknown bool   `json:"soft_delete_unknown,omitempty"` // the service did not report it
	Retention         int64  `json:"retention_seconds"`
	RequesterPays     bool   `json:"requester_pays,omitempty"`

	ReadAt *time.Time `json:"read_at,omitempty"`
}

// Directory is a directory of a certificate, and what was in it.
type Directory struct {
	Bucket        string              `json:"bucket"`
	Prefix        string              `json:"prefix"`
	CertificateID purge.CertificateID `json:"certificate_id,omitempty"`
	Table         purge.Table         `json:"table"`
	Listings      []Listing           `json:"listings,omitempty"`
	Proven        bool                `json:"proven,omitempty"`  // the last listing showed nothing
	Outcome       purge.Outcome       `json:"outcome,omitempty"` // of a directory that held nothing, or that was left
	AcceptedBy    string              `json:"accepted_by,omitempty"`
	Generations   []Generation        `json:"generations,omitempty"`

	Written // of an outcome that an earlier document, or version, had written
}

// Listing is one complete listing.
type Listing struct {
	Began       time.Time `json:"began"`
	Ended       time.Time `json:"ended"`
	Generations int       `json:"generations"`
	Pages       int       `json:"pages,omitempty"`
}

// Generation is one stored version of an object.
type Generation struct {
	Name         string        `json:"name"`       // below the directory's prefix
	Number       string        `json:"generation"` // as text: it may be larger than a number of JSON is exact
	Size         int64         `json:"size"`       // bytes
	CacheControl string        `json:"cache_control,omitempty"`
	Outcome      purge.Outcome `json:"outcome"`
	Until        *time.Time    `json:"until,omitempty"` // of soft_deleted and retained
	AcceptedBy   string        `json:"accepted_by,omitempty"`

	Written
}

// Written says where something was first written down, where that is not in this document.
type Written struct {
	RequestID purge.RequestID `json:"request_id,omitempty"`
	Attempt   int             `json:"attempt,omitempty"`
	ListedAt  *time.Time      `json:"listed_at,omitempty"`
	SettledAt *time.Time      `json:"settled_at,omitempty"`
}

// Link is the outcome of the references of one certificate.
type Link struct {
	CertificateID purge.CertificateID `json:"certificate_id"`
	Table         purge.Table         `json:"table"`
	Cleared       int                 `json:"cleared,omitempty"` // rows of which the references were cleared
	External      bool                `json:"external,omitempty"`

	Written
}

// Encode returns a document's canonical JSON.
func (d *Document) Encode() ([]byte, error) {
	text, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("writing evidence: %w", err)
	}
	value := jsontext.Value(text)
	if err := value.Canonicalize(); err != nil {
		return nil, fmt.Errorf("writing evidence: %w", err)
	}
	return value, nil
}

// Decode reads what Encode has written.
func Decode(text []byte) (*Document, error) {
	var d Document
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, fmt.Errorf("reading evidence: %w", err)
	}
	if d.Version != Version {
		return nil, fmt.Errorf("reading evidence: a document of version %d; this program knows %d", d.Version, Version)
	}
	return &d, nil
}

// Hash chains a document to the one before it of the same request: SHA-256 of that one's hash, 32 zeros for none, and
// of the document's bytes.
func Hash(previous [sha256.Size]byte, document []byte) [sha256.Size]byte {
	return sha256.Sum256(append(previous[:], document...))
}

// Writer says who writes documents.
type Writer struct {
	Worker   string // host and process
	Software string // name and version
}

func (w Writer) document(part Part, attempt purge.Attempt, at time.Time) *Document {
	o := attempt.Origin
	return &Document{
		Version: Version, Part: part, Attempt: attempt.Number, At: at.UTC(), Began: moment(attempt.Began),
		Worker: w.Worker, Software: w.Software,
		Request: Request{
			ID: attempt.Request, UserID: attempt.User, CertificateID: attempt.Certificate, Source: o.Source,
			RequestedBy: o.RequestedBy, RequestedAt: moment(o.RequestedAt), Ticket: o.Ticket, ReopenedBy: o.ReopenedBy,
		},
	}
}

// Intents makes the document of what an attempt is about to delete.
func (w Writer) Intents(attempt purge.Attempt, intents []purge.Evidence, at time.Time) *Document {
	d := w.document(Intents, attempt, at)
	for _, e := range intents {
		d.add(e)
	}
	return d
}

// Record makes the document of an attempt's result. cleared are the rows whose references are cleared with it.
func (w Writer) Record(attempt purge.Attempt, report purge.Report, cleared []Link, at time.Time) *Document {
	d := w.document(Record, attempt, at)
	d.State, d.Reason, d.Detail = report.State, report.Reason, report.Detail
	for _, s := range report.Settings {
		d.Buckets = append(d.Buckets, Bucket{
			Name: s.Bucket, Versioning: s.Versioning, SoftDelete: seconds(s.SoftDelete),
			SoftDeleteUnknown: s.SoftDeleteUnknown, Retention: seconds(s.Retention), RequesterPays: s.RequesterPays,
			ReadAt: moment(s.ReadAt),
		})
	}
	d.Links = cleared
	for _, e := range report.Evidence {
		if e.Outcome == purge.External {
			d.link(e.CertificateID, e.Table).External = true
			continue
		}
		d.add(e)
	}
	for _, l := range report.Listings {
		at := d.directory(l.Directory)
		at.Listings = append(at.Listings, Listing{
			Began: l.Began.UTC(), Ended: l.Ended.UTC(), Generations: l.Generations,
			Pages: l.Pages,
		})
	}
	for _, dir := range report.Proven {
		d.directory(dir).Proven = true
	}
	if report.State == purge.Done && attempt.Counts.DirectoriesMissing > 0 {
		for _, c := range report.Clear {
			if !slices.Contains(d.MissingResolved, c.CertificateID) {
				d.MissingResolved = append(d.MissingResolved, c.CertificateID)
			}
		}
	}
	return d
}

// Migrated makes the document of what an earlier version has written of a request. It is empty; AddRow and AddClearing
// fill it.
func (w Writer) Migrated(attempt purge.Attempt) *Document {
	return w.document(Migrated, attempt, time.Time{})
}

// AddRow adds a row of an earlier version, with its times.
func (d *Document) AddRow(r Row) {
	written := Written{Attempt: r.Attempt, ListedAt: moment(r.ListedAt), SettledAt: moment(r.SettledAt)}
	if r.Outcome == purge.External {
		l := d.link(r.Certificate, r.Table)
		l.External, l.Written = true, written
		return
	}
	at := d.directory(r.Directory)
	at.CertificateID, at.Table = r.Certificate, r.Table
	if r.Generation == 0 && r.Name == r.Directory.Prefix {
		at.Outcome, at.AcceptedBy, at.Written = r.Outcome, r.AcceptedBy, written
		return
	}
	at.Generations = append(at.Generations, Generation{
		Name: strings.TrimPrefix(r.Name, at.Prefix), Number: strconv.FormatInt(r.Generation, 10), Size: r.Size,
		CacheControl: r.CacheControl, Outcome: r.Outcome, Until: moment(r.Until), AcceptedBy: r.AcceptedBy, Written: written,
	})
}

// AddClearing adds a row of an earlier version.
func (d *Document) AddClearing(c Clearing) {
	l := d.link(c.Certificate, c.Table)
	l.Cleared = c.References
	l.Written = Written{Attempt: c.Attempt, SettledAt: moment(c.At)}
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// moment is a time that may be unknown.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// directory is the document's entry of a directory.
func (d *Document) directory(dir purge.Directory) *Directory {
	i := slices.IndexFunc(d.Directories, func(at Directory) bool {
		return at.Bucket == dir.Bucket && at.Prefix == dir.Prefix
	})
	if i < 0 {
		i = len(d.Directories)
		d.Directories = append(d.Directories, Directory{Bucket: dir.Bucket, Prefix: dir.Prefix})
	}
	return &d.Directories[i]
}

// link is the document's entry of a certificate's references.
func (d *Document) link(certificate purge.CertificateID, table purge.Table) *Link {
	i := slices.IndexFunc(d.Links, func(l Link) bool { return l.CertificateID == certificate && l.Table == table })
	if i < 0 {
		i = len(d.Links)
		d.Links = append(d.Links, Link{CertificateID: certificate, Table: table})
	}
	return &d.Links[i]
}

// add writes the outcome of a directory or a generation into the document.
func (d *Document) add(e purge.Evidence) {
	at := d.directory(e.Generation.Directory)
	at.CertificateID, at.Table = e.CertificateID, e.Table
	if e.Generation.Number == 0 && e.Generation.Name == e.Generation.Directory.Prefix {
		at.Outcome, at.AcceptedBy = e.Outcome, e.AcceptedBy
		return
	}
	g := Generation{
		Name: strings.TrimPrefix(e.Generation.Name, at.Prefix), Number: strconv.FormatInt(e.Generation.Number, 10),
		Size: e.Generation.Size, CacheControl: e.Generation.CacheControl, Outcome: e.Outcome, Until: moment(e.Until),
		AcceptedBy: e.AcceptedBy,
	}
	same := func(other Generation) bool { return other.Name == g.Name && other.Number == g.Number }
	if i := slices.IndexFunc(at.Generations, same); i >= 0 {
		at.Generations[i] = g // what is said last counts
		return
	}
	at.Generations = append(at.Generations, g)
}

// Split encodes a document, as several if it is larger than limit bytes: each directory's generations stay in their
// order, what is said of the directory as a whole is in the last document that names it, and the state is in the last.
func (d *Document) Split(limit int) ([][]byte, error) {
	whole, err := d.Encode()
	if err != nil || len(whole) <= limit {
		return [][]byte{whole}, err
	}
	var texts [][]byte
	base := *d
	base.State, base.Reason, base.Detail, base.Buckets, base.Links, base.MissingResolved = "", "", "", nil, nil, nil
	base.Directories = nil
	part, size := base, 0
	flush := func() error {
		text, err := part.Encode()
		texts = append(texts, text)
		part, size = base, 0
		return err
	}
	for _, dir := range d.Directories {
		rest := dir.Generations
		for {
			n := 0
			for n < len(rest) && size < limit/2 { // what is counted here is a part of what is written
				size += len(rest[n].Name) + len(rest[n].CacheControl) + len(rest[n].AcceptedBy) + generationSize
				n++
			}
			piece := dir
			piece.Generations, rest = rest[:n], rest[n:]
			last := len(rest) == 0
			if !last {
				piece.Listings, piece.Proven, piece.Outcome = nil, false, ""
			}
			part.Directories = append(part.Directories, piece)
			if size += len(dir.Prefix) + directorySize; size >= limit/2 || !last {
				if err := flush(); err != nil {
					return nil, err
				}
			}
			if last {
				break
			}
		}
	}
	end := *d
	end.Directories = part.Directories
	text, err := end.Encode()
	return append(texts, text), err
}

// What a generation and a directory take in a document beside their texts, in bytes, with room to spare.
const (
	generationSize = 200
	directorySize  = 400
)
