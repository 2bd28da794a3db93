package purge

import (
	"context"
	"time"
)

// Outcome is the result for one object generation, or for one directory that held none.
type Outcome string

// The outcomes. Only Erased, Absent, MissingAccepted, External and, where the configuration accepts it, SoftDeleted let
// a reference be cleared.
const (
	Listed      Outcome = "listed"       // seen and about to be deleted: the intent, replaced by one of the others
	Erased      Outcome = "erased"       // was listed for this request; a later complete listing shows that it is gone
	SoftDeleted Outcome = "soft_deleted" // gone from the listing, restorable until a date
	HeldBack    Outcome = "held"         // a hold protects it; not touched
	KeptUntil   Outcome = "retained"     // a retention date protects it; not touched
	NotProven   Outcome = "not_proven"   // not known yet; the next attempt finds out

	// Of directories.
	Absent          Outcome = "absent"           // held nothing, and nothing was expected there
	Missing         Outcome = "missing"          // held nothing, although files were expected: the reference was kept
	MissingAccepted Outcome = "missing_accepted" // the same, but accepted: the reference was cleared

	// Of directories that an operator took for orphans, and of what was listed in them: all were left.
	Referenced Outcome = "referenced" // a row of the LMS holds the id
	TooYoung   Outcome = "too_young"  // something in it was written too lately
	Foreign    Outcome = "foreign"    // below no location

	External Outcome = "external" // of a link that leads to no file of ours
)

// Emptied reports whether the outcome is that of a file that was about to be deleted, so that it is us who emptied its
// directory. What was held back or retained was never deleted: if it is gone, it may have been moved.
func (o Outcome) Emptied() bool {
	return o == Listed || o == Erased || o == SoftDeleted || o == NotProven
}

// Kept reports whether the outcome is that of a file which something protected.
func (o Outcome) Kept() bool { return o == HeldBack || o == KeptUntil }

// Evidence is the outcome of one object generation for one certificate.
type Evidence struct {
	CertificateID CertificateID
	Table         Table
	Generation    Generation // Number 0 and Name equal to the prefix for a directory
	Outcome       Outcome
	Until         time.Time // for SoftDeleted and KeptUntil
	// AcceptedBy says who accepted a doubt about the directory: for MissingAccepted, that it is empty; otherwise, that a
	// row of another user names it, too. It is an operator's account, or a setting.
	AcceptedBy string
}

// Clearing requests the references of one certificate in one table to be cleared, each guarded by its old values.
type Clearing struct {
	CertificateID CertificateID
	Table         Table
	References    []Reference
}

// Report is the result of one attempt, to be recorded in one transaction.
type Report struct {
	State        State // Queued means: again later
	Reason       Reason
	Detail       string    // one or more sentences for people; no personal data
	Counted      bool      // whether the failure counts against the attempts
	NotBefore    time.Time // when the next attempt makes sense; zero means any time
	Certificates int       // distinct certificates with a reference
	Clear        []Clearing
	Keep         []Reference // external links that stay by configuration: the request is done all the same
	Proven       []Directory // shown empty by a complete listing of this attempt
	Evidence     []Evidence  // outcomes, but for what earlier attempts had listed in directories that are Proven now
	Listings     []Listing   // in their order for each directory; those that failed are left out
	Settings     []BucketSettings
}

// Listing is a complete listing of a directory.
type Listing struct {
	Directory   Directory
	Began       time.Time
	Ended       time.Time
	Generations int // that it showed
	Pages       int // in which the service sent it; 0 if the store does not say
}

// pagesKey is the key of a context's counter of pages.
type pagesKey struct{}

// withPages returns a context in which CountPage counts.
func withPages(ctx context.Context, pages *int) context.Context {
	return context.WithValue(ctx, pagesKey{}, pages)
}

// CountPage counts a page of the listing for the attempt in ctx, if there is one.
func CountPage(ctx context.Context) {
	if pages, ok := ctx.Value(pagesKey{}).(*int); ok {
		*pages++
	}
}

// Counts are the figures of a request, summed over its attempts from the evidence in the ledger.
type Counts struct {
	Certificates       int `json:"certificates"`
	ObjectsErased      int `json:"objects_erased"`
	ObjectsAbsent      int `json:"objects_absent"`
	ObjectsSoftDeleted int `json:"objects_soft_deleted"`
	DirectoriesMissing int `json:"directories_missing"` // accepted or not
	ReferencesCleared  int `json:"references_cleared"`
}

// Recorded is what the ledger holds after a report was recorded.
type Recorded struct {
	State  State
	Reason Reason
	Counts Counts
}
