package httpapi

import (
	"time"

	"github.com/certpurge/certpurge/internal/evidence"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// requestBody is a request as answers show it: the schema Request of openapi.yaml.
type requestBody struct {
	ID                 purge.RequestID     `json:"request_id"`
	UserID             purge.UserID        `json:"user_id"`
	CertificateID      purge.CertificateID `json:"certificate_id,omitempty"`
	Source             purge.Source        `json:"source"`
	State              purge.State         `json:"state"`
	Reason             purge.Reason        `json:"reason,omitempty"`
	Detail             string              `json:"detail,omitempty"`
	Attempts           int                 `json:"attempts"`
	Failures           int                 `json:"failures"`
	Certificates       int                 `json:"certificates"`
	ObjectsErased      int                 `json:"objects_erased"`
	ObjectsAbsent      int                 `json:"objects_absent"`
	ObjectsSoftDeleted int                 `json:"objects_soft_deleted"`
	DirectoriesMissing int                 `json:"directories_missing"`
	ReferencesCleared  int                 `json:"references_cleared"`
	ReferencesKept     int                 `json:"references_kept"`
	AcceptMissingBy    string              `json:"accept_missing_by,omitempty"`
	AcceptSharedBy     string              `json:"accept_shared_by,omitempty"`
	RequestedBy        string              `json:"requested_by,omitempty"`
	Ticket             string              `json:"ticket,omitempty"`
	ReopenedBy         string              `json:"reopened_by,omitempty"`
	RecoverableUntil   *time.Time          `json:"recoverable_until,omitempty"`
	NotBefore          *time.Time          `json:"not_before,omitempty"`
	RequestedAt        time.Time           `json:"requested_at"`
	OpenedAt           time.Time           `json:"opened_at"`
	StartedAt          *time.Time          `json:"started_at,omitempty"`
	FinishedAt         *time.Time          `json:"finished_at,omitempty"`
}

func newRequestBody(r mysql.Request) requestBody {
	return requestBody{
		r.ID, r.UserID, r.CertificateID, r.Source, r.State, r.Reason, r.Detail, r.Attempts, r.Failures, r.Certificates,
		r.ObjectsErased, r.ObjectsAbsent, r.ObjectsSoftDeleted, r.DirectoriesMissing, r.ReferencesCleared, r.ReferencesKept,
		r.AcceptMissingBy, r.AcceptSharedBy, r.RequestedBy, r.Ticket, r.ReopenedBy, r.RecoverableUntil, r.NotBefore,
		r.RequestedAt, r.OpenedAt, r.StartedAt, r.FinishedAt,
	}
}

// evidenceBody is one line of evidence as answers show it: the schema Evidence of openapi.yaml.
type evidenceBody struct {
	Kind              string              `json:"kind"`
	RequestID         purge.RequestID     `json:"request_id"`
	UserID            purge.UserID        `json:"user_id"`
	CertificateID     purge.CertificateID `json:"certificate_id"`
	SourceTable       purge.Table         `json:"source_table"`
	Attempt           int                 `json:"attempt"`
	Bucket            string              `json:"bucket,omitempty"`
	Object            string              `json:"object,omitempty"`
	Generation        int64               `json:"generation,omitempty"`
	Size              int64               `json:"size,omitempty"`
	CacheControl      string              `json:"cache_control,omitempty"`
	Outcome           purge.Outcome       `json:"outcome"`
	Until             *time.Time          `json:"until,omitempty"`
	AcceptedBy        string              `json:"accepted_by,omitempty"`
	ReferencesCleared int                 `json:"references_cleared,omitempty"`
	ListedAt          *time.Time          `json:"listed_at,omitempty"`
	At                *time.Time          `json:"at"`
	RequestedBy       string              `json:"requested_by,omitempty"`
	Ticket            string              `json:"ticket,omitempty"`
	Listings          []evidence.Listing  `json:"listings,omitempty"`
	BucketSettings    *evidence.Bucket    `json:"bucket_settings,omitempty"`
}

func newEvidenceBody(e mysql.EvidenceRecord) evidenceBody {
	return evidenceBody{
		e.Kind, e.RequestID, e.UserID, e.CertificateID, e.SourceTable, e.Attempt, e.Bucket, e.Name, e.Generation, e.Size,
		e.CacheControl, e.Outcome, e.Until, e.AcceptedBy, e.ReferencesCleared, e.ListedAt, e.At,
		e.RequestedBy, e.Ticket, e.Listings, e.Settings,
	}
}
