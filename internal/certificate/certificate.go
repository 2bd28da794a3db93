package certificate

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/certpurge/certpurge/internal/evidence"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// Version is that of the schema, docs/certificate.schema.json.
const Version = 1

// Kind says what the document is.
type Kind string

// The kinds.
const (
	KindCertificate Kind = "certificate" // nothing is left, apart from what Reservations name
	KindStatement   Kind = "statement"   // something is, or may be: Left says what
)

// Certificate is all that is known of the legacy PDF certificates of one user. It holds numeric ids, names of objects,
// and those who asked; no name, address or link of the learner.
type Certificate struct {
	Version      int             `json:"version"`
	Kind         Kind            `json:"kind"`
	Installation string          `json:"installation,omitempty"` // admin.title of the program that made this document
	UserID       purge.UserID    `json:"user_id"`
	MadeAt       time.Time       `json:"made_at"`
	Software     string          `json:"software"` // that made this document
	Left         []Left          `json:"left,omitempty"`
	Reservations []Reservation   `json:"reservations,omitempty"`
	LMS          LMS             `json:"lms"`
	Requests     []Request       `json:"requests"`
	Certificates []Erasure       `json:"certificates,omitempty"`
	Buckets      []Bucket        `json:"buckets,omitempty"`
	Recoverable  Recoverable     `json:"recoverable"`
	OutOfReach   []string        `json:"out_of_reach"`
	Prunings     []mysql.Pruning `json:"prunings,omitempty"` // of the ledger; they need not be about this user
	Anchors      []Anchor        `json:"anchors,omitempty"`
	Signature    *Signature      `json:"signature,omitempty"`
}

// Left is one thing that is left, or may be.
type Left struct {
	What      What            `json:"what"`
	RequestID purge.RequestID `json:"request_id,omitempty"`
	Bucket    string          `json:"bucket,omitempty"`
	Object    string          `json:"object,omitempty"` // its full name; a directory ends with a slash
	Until     *time.Time      `json:"until,omitempty"`
	Text      string          `json:"text"`
}

// LMS is what the LMS's database said when the document was made.
type LMS struct {
	ReadAt            time.Time `json:"read_at"`
	UserExists        bool      `json:"user_exists"`
	Retirement        bool      `json:"retirement_requested"`
	State             string    `json:"retirement_state,omitempty"`
	LiveReferences    int       `json:"live_references"`
	HistoryReferences int       `json:"history_references"`
}

// Request is one request of the user, with all that happened to it.
type Request struct {
	ID                purge.RequestID       `json:"request_id"`
	CertificateID     purge.CertificateID   `json:"certificate_id,omitempty"` // 0: for all of the user's
	Source            purge.Source          `json:"source"`
	RequestedBy       string                `json:"requested_by,omitempty"`
	RequestedAt       time.Time             `json:"requested_at"`
	Ticket            string                `json:"ticket,omitempty"`
	State             purge.State           `json:"state"`
	Reason            purge.Reason          `json:"reason,omitempty"`
	Detail            string                `json:"detail,omitempty"`
	FinishedAt        *time.Time            `json:"finished_at,omitempty"`
	ObjectsErased     int                   `json:"objects_erased"`
	ReferencesCleared int                   `json:"references_cleared"`
	ReferencesKept    int                   `json:"references_kept"` // links of other services
	Timeline          []mysql.TimelineEntry `json:"timeline"`
	Chain             *Chain                `json:"chain,omitempty"` // there is none before the first attempt
}

// Chain is where the documents of a request begin and end. Its hash covers all of them.
type Chain struct {
	First int    `json:"first"` // 1, unless the ones before were removed
	Last  int    `json:"last"`
	Hash  string `json:"hash"` // of the last one, in hex
}

// Erasure is the outcome of one certificate of the LMS.
type Erasure struct {
	CertificateID purge.CertificateID `json:"certificate_id"`
	Directories   []Directory         `json:"directories,omitempty"`
	Links         []Link              `json:"links,omitempty"`
}

// Directory is a directory of a bucket, its complete listings, and what was in it.
type Directory struct {
	Bucket   string    `json:"bucket"`
	Prefix   string    `json:"prefix"`
	Listings []Listing `json:"listings,omitempty"`
	Objects  []Object  `json:"objects"`
}

// Listing is a complete listing.
type Listing struct {
	evidence.Listing

	RequestID purge.RequestID `json:"request_id"`
	Attempt   int             `json:"attempt"`
}

// Object is one generation of an object and its outcome; without a name, it is the directory's own outcome.
type Object struct {
	Name         string        `json:"name,omitempty"`       // below the directory's prefix
	Generation   string        `json:"generation,omitempty"` // as text: it may be larger than a number of JSON is exact
	Size         int64         `json:"size"`
	CacheControl string        `json:"cache_control,omitempty"`
	Outcome      purge.Outcome `json:"outcome"`
	Until        *time.Time    `json:"until,omitempty"`
	AcceptedBy   string        `json:"accepted_by,omitempty"`
	ListedAt     *time.Time    `json:"listed_at,omitempty"`
	SettledAt    *time.Time    `json:"settled_at,omitempty"`

	RequestID purge.RequestID `json:"request_id"`
	Attempt   int             `json:"attempt"`
	Table     purge.Table     `json:"table"`
	Unproven  bool            `json:"no_listing,omitempty"` // the attempt that settled it wrote down no listing
}

// Link is the outcome of the references of a certificate in one table.
type Link struct {
	Table     purge.Table     `json:"table"`
	Cleared   int             `json:"cleared,omitempty"`  // rows
	External  bool            `json:"external,omitempty"` // it leads to another service, of which nothing was touched
	At        *time.Time      `json:"at,omitempty"`
	RequestID purge.RequestID `json:"request_id"`
	Attempt   int             `json:"attempt"`
}

// Bucket is the settings of a bucket as one attempt has read them.
type Bucket struct {
	evidence.Bucket

	RequestID  purge.RequestID `json:"request_id"`
	Attempt    int             `json:"attempt"`
	RecordedAt time.Time       `json:"recorded_at"`
}

// Recoverable counts what could still be recovered when the document was made.
type Recoverable struct {
	SoftDeleted       int        `json:"soft_deleted"`    // objects that soft delete can restore
	Until             *time.Time `json:"until,omitempty"` // when the last of these cannot be restored any more
	Kept              int        `json:"kept"`            // objects that a hold or a retention protects
	Doubtful          int        `json:"doubtful"`        // objects and directories of which it is not known
	SoftDeleteUnknown bool       `json:"soft_delete_unknown,omitempty"`
}

// Anchor covers documents of the user.
type Anchor struct {
	ID        int64     `json:"anchor"`
	At        time.Time `json:"at"`
	Hash      string    `json:"hash"`
	Documents []int64   `json:"documents"` // their numbers in the ledger
}

// Encode returns the canonical JSON.
func (c *Certificate) Encode() ([]byte, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("writing a certificate: %w", err)
	}
	value := jsontext.Value(text)
	if err := value.Canonicalize(); err != nil {
		return nil, fmt.Errorf("writing a certificate: %w", err)
	}
	return value, nil
}

func hexOf(hash [32]byte) string { return hex.EncodeToString(hash[:]) }

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	return new(t.UTC())
}
