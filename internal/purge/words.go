package purge

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// UserID is the numeric id of an LMS user, auth_user.id: 1 to 2,147,483,647.
type UserID int64

// maxID is the largest value of auth_user.id and of certificates_generatedcertificate.id, signed 32-bit AutoFields
// (Open edX migrations).
const maxID = 1<<31 - 1

// ParseUserID reads a user id from decimal digits; no sign, no spaces, no leading zero. Its error
// shows the input only if that holds no letters, which may be a name.
func ParseUserID(s string) (UserID, error) {
	n, err := parseID(s, "a user id: expected the LMS's numeric id")
	return UserID(n), err
}

func parseID(s, expected string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 || n > maxID || strconv.FormatInt(n, 10) != s {
		what := "this (not shown, it may be a name)"
		if strings.Trim(s, "0123456789+-., ") == "" { // letters may be a name or an address
			what = fmt.Sprintf("%.40q", s)
		}
		return 0, fmt.Errorf("%s is not %s, 1 to %d", what, expected, maxID)
	}
	return n, nil
}

// Valid reports whether the id can be one of the LMS's.
func (id UserID) Valid() bool { return id >= 1 && id <= maxID }

// RequestID is the ledger's id of a request; positive.
type RequestID int64

// CertificateID is the id of a row of certificates_generatedcertificate. A history row carries the id of its live row.
// As the scope of a request, 0 means all certificates of the user; with user 0, it is the number of an OrphanSet.
type CertificateID int64

// ParseCertificateID reads the id of a certificate as ParseUserID reads a user's.
func ParseCertificateID(s string) (CertificateID, error) {
	n, err := parseID(s, "a certificate id: expected the number in the LMS's column id")
	return CertificateID(n), err
}

// Source says who requested a purge.
type Source string

// The sources of requests.
const (
	SourceAPI      Source = "api"
	SourceDriver   Source = "driver"
	SourceBackfill Source = "backfill"
	SourceWatch    Source = "watch"
	SourceCLI      Source = "cli"     // an operator, by a command or in the console
	SourceOrphans  Source = "orphans" // a list of directories that no link leads to
)

// Sources returns all sources.
func Sources() []Source {
	return []Source{SourceAPI, SourceDriver, SourceBackfill, SourceWatch, SourceCLI, SourceOrphans}
}

// State is the state of a request in the ledger.
type State string

// The states of a request. Done, Refused and Failed are its ends.
const (
	Queued  State = "queued"
	Running State = "running"
	Done    State = "done"
	Refused State = "refused"
	Failed  State = "failed"
)

// States returns all states.
func States() []State { return []State{Queued, Running, Done, Refused, Failed} }

// Ended reports whether the request has ended: no worker takes it unless it is opened again.
func (s State) Ended() bool { return s == Done || s == Refused || s == Failed }

// Reason says why a request is in its state. The set is closed: it is a label of metrics and a filter of commands.
type Reason string

// Reasons of requests.
const (
	ReasonNone           Reason = ""                 // queued or running for the first time, or simply done
	ReasonNothingToPurge Reason = "nothing_to_purge" // done: the user has no reference, or external links only
	ReasonNotRetiring    Reason = "not_retiring"     // refused
	ReasonUnknownUser    Reason = "unknown_user"     // refused: no such LMS user
	// refused: an older request of the same scope is open
	ReasonSuperseded   Reason = "superseded"
	ReasonHeld         Reason = "held"                   // failed: a hold protects an object
	ReasonNoPermission Reason = "no_permission"          // failed: the service account may not delete an object
	ReasonUnrecognised Reason = "unrecognised_reference" // failed: no artifact can be named from a reference
	ReasonShared       Reason = "shared_directory"       // failed: a row of another user names the same directory
	// refused: a directory of an OrphanSet has a link, is too young, or is below no location
	ReasonNotOrphan     Reason = "not_orphan"
	ReasonTooMany       Reason = "too_many_objects" // failed: a directory lists more than any certificate has
	ReasonGaveUp        Reason = "gave_up"          // failed: the attempts are used up
	ReasonTransient     Reason = "transient"        // queued again after a failure that should pass
	ReasonThrottled     Reason = "throttled"        // queued again, slower
	ReasonRetained      Reason = "retained"         // queued until a retention date has passed
	ReasonSoftDeleted   Reason = "soft_deleted"     // queued until a soft delete can no longer be undone
	ReasonMisconfigured Reason = "misconfigured"    // queued until the configuration is fixed
	ReasonUnavailable   Reason = "unavailable"      // queued until a database, or the source of tokens, is there again
	ReasonFilesMissing  Reason = "files_missing"    // failed: an expected directory is empty; done: that was accepted
	ReasonStopped       Reason = "stopped"          // queued again because the worker was stopping
)

// Reasons returns all reasons but the empty one.
func Reasons() []Reason {
	return []Reason{
		ReasonNothingToPurge, ReasonFilesMissing, ReasonNotRetiring, ReasonUnknownUser, ReasonSuperseded, ReasonHeld,
		ReasonNoPermission,
		ReasonUnrecognised, ReasonShared, ReasonNotOrphan, ReasonTooMany, ReasonGaveUp, ReasonTransient, ReasonThrottled,
		ReasonRetained,
		ReasonSoftDeleted, ReasonMisconfigured, ReasonUnavailable, ReasonStopped,
	}
}

// Table is the kind of a certificate row: live, or of the history.
type Table string

// The two tables that hold references.
const (
	Live    Table = "live"
	History Table = "history"
	NoTable Table = "none" // in the evidence of orphans, to which no link leads
)

// Reference is the pair download_uuid and download_url of one row, with the ids it stands beside: the only descriptor
// of the certificate's files. The strings are exactly as stored. It prints as its row, never as its URL (invariant 7).
type Reference struct {
	Table         Table
	RowID         int64 // certificates_generatedcertificate.id, or history_id of the history table
	CertificateID CertificateID
	DownloadUUID  string
	VerifyUUID    string
	DownloadURL   string
}

// String names the row without its content.
func (r Reference) String() string {
	if r.Table == History {
		return fmt.Sprintf("history row %d of certificate %d", r.RowID, r.CertificateID)
	}
	return fmt.Sprintf("certificate %d", r.CertificateID)
}

// GoString keeps %#v from printing the content.
func (r Reference) GoString() string { return r.String() }

// Directory is the part of a bucket that belongs to one id of one certificate. Prefix always ends in "/": without the
// closing slash the listing of one id would match a longer name.
type Directory struct {
	Bucket string
	Prefix string
}

// Generation is one stored version of an object, current or noncurrent, as a listing showed it.
type Generation struct {
	Directory     Directory
	Name          string // full object name, begins with Directory.Prefix
	Number        int64
	Size          int64     // bytes
	Created       time.Time // when this generation was written
	Held          bool      // temporary or event-based hold
	RetainedUntil time.Time // zero if no retention protects it
	CacheControl  string    // as stored; caches may serve the object that long after its deletion
}

// SoftDeletedObject is a deleted generation that can still be restored.
type SoftDeletedObject struct {
	Name   string
	Number int64
	Size   int64     // bytes
	Until  time.Time // from then on it cannot be restored
}

// Retirement is what the LMS database says about a user's retirement.
type Retirement struct {
	UserExists bool
	Requested  bool   // a row in user_api_userretirementrequest
	State      string // state_name of the status row; empty if there is no row, StateUnknown if its state does not exist
}

// StateUnknown is the state of a status row that refers to none. No state can have this name.
const StateUnknown = "(unknown)"

// User is what the LMS database says about a user: its retirement and its references.
type User struct {
	Retirement Retirement
	References []Reference // live rows first
}

// Of returns the references that a request is about: those of one certificate, or all where that is 0.
func (u User) Of(certificate CertificateID) []Reference {
	if certificate == 0 {
		return u.References
	}
	var refs []Reference
	for _, ref := range u.References {
		if ref.CertificateID == certificate {
			refs = append(refs, ref)
		}
	}
	return refs
}
