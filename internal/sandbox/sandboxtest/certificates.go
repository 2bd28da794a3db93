package sandboxtest

import (
	"cmp"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/sandbox/lms"
)

// Certificate is a row of certificates_generatedcertificate. Empty ids and URLs are stored as they are; the other empty
// fields get what a passed honor-code certificate has.
type Certificate struct {
	UserID       int
	CourseID     string // a course of its own
	VerifyUUID   string // may be empty
	DownloadUUID string // may be empty
	DownloadURL  string // may be empty
	Status       string // downloadable
	Mode         string // honor
	Grade        string // 0.95
	Name         string // the learner's name in the certificate
	Key          string // may be empty
	ErrorReason  string // may be empty
	Distinction  bool
	Created      time.Time // 2015
	Modified     time.Time // 2015
}

var courses atomic.Int64

func (c Certificate) row() row {
	return row{
		"course_id":     cmp.Or(c.CourseID, fmt.Sprintf("edX/Course%d/2014_T1", courses.Add(1))),
		"verify_uuid":   c.VerifyUUID,
		"download_uuid": c.DownloadUUID,
		"download_url":  c.DownloadURL,
		"grade":         cmp.Or(c.Grade, "0.95"),
		"key":           c.Key,
		"distinction":   c.Distinction,
		"status":        cmp.Or(c.Status, "downloadable"),
		"mode":          cmp.Or(c.Mode, "honor"),
		"name":          cmp.Or(c.Name, "Ada Löwe"),
		"created_date":  cmp.Or(c.Created, longAgo),
		"modified_date": cmp.Or(c.Modified, longAgo),
		"error_reason":  c.ErrorReason,
		"user_id":       c.UserID,
	}
}

// AddCertificate adds a live certificate and no history of it.
func (d *Database) AddCertificate(tb testing.TB, c Certificate) (certificateID int) {
	tb.Helper()
	return d.insert(tb, lms.Certificates, c.row())
}

// HistoryRow is a row of certificates_historicalgeneratedcertificate: what the certificate was at that time.
type HistoryRow struct {
	Certificate // UserID 0 is stored as NULL

	CertificateID int       // of the live row, which may be gone
	Type          string    // + ~ or -; empty is ~
	Date          time.Time // 2015
	ChangeReason  string    // empty is NULL
	HistoryUserID int       // who made the change; 0 is NULL
}

// AddHistory adds a history row.
func (d *Database) AddHistory(tb testing.TB, h HistoryRow) (historyID int) {
	tb.Helper()
	r := h.row()
	r["id"] = h.CertificateID
	r["user_id"] = orNull(h.UserID)
	r["history_type"] = cmp.Or(h.Type, "~")
	r["history_date"] = cmp.Or(h.Date, longAgo)
	r["history_change_reason"] = orNull(h.ChangeReason)
	r["history_user_id"] = orNull(h.HistoryUserID)
	return d.insert(tb, lms.History, r)
}

// AddPurgeArguments adds a row of the configuration of the LMS's own purge command. The newest row counts.
func (d *Database) AddPurgeArguments(tb testing.TB, arguments string, enabled bool) {
	tb.Helper()
	d.insert(tb, lms.PurgeArguments, row{
		"change_date": longAgo, "enabled": enabled, "arguments": arguments, "changed_by_id": nil,
	})
}

// orNull is NULL for the zero value.
func orNull[T comparable](value T) any {
	var zero T
	if value == zero {
		return nil
	}
	return value
}
