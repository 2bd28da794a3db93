package notify

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// typePrefix is the beginning of the type of each event.
const typePrefix = "io.github.certpurge."

// event is a CloudEvent in structured mode: CloudEvents 1.0, https://github.com/cloudevents/spec.
type event struct {
	SpecVersion     string    `json:"specversion"`
	ID              string    `json:"id"`
	Source          string    `json:"source"`
	Type            string    `json:"type"`
	Subject         string    `json:"subject,omitempty"`
	Time            time.Time `json:"time"`
	DataContentType string    `json:"datacontenttype"`
	Data            any       `json:"data"`
}

// ended is what is said of a request: numbers, states and times; no name, no link, and no key of the caller's.
type ended struct {
	Request            purge.RequestID     `json:"request_id"`
	User               purge.UserID        `json:"user_id"`
	Certificate        purge.CertificateID `json:"certificate_id,omitempty"` // this one only
	Source             purge.Source        `json:"source"`
	Ticket             string              `json:"ticket,omitempty"`
	State              purge.State         `json:"state"`
	Reason             purge.Reason        `json:"reason,omitempty"`
	Attempts           int                 `json:"attempts"`
	Certificates       int                 `json:"certificates"`
	ObjectsErased      int                 `json:"objects_erased"`
	ObjectsAbsent      int                 `json:"objects_absent"`
	ObjectsSoftDeleted int                 `json:"objects_soft_deleted"`
	DirectoriesMissing int                 `json:"directories_missing"`
	ReferencesCleared  int                 `json:"references_cleared"`
	ReferencesKept     int                 `json:"references_kept"`
	RecoverableUntil   *time.Time          `json:"recoverable_until,omitempty"`
	RequestedAt        time.Time           `json:"requested_at"`
	FinishedAt         time.Time           `json:"finished_at"`
}

// verdict is what is said of the overview.
type verdict struct {
	Level string `json:"level"` // ok, warn, bad
	Was   string `json:"was"`   // the level of the notification before
	Title string `json:"title"` // as the overview shows it
}

// requestEnded makes the notification of a request that has ended.
func (n *Notifier) requestEnded(r mysql.Request, now time.Time) (mysql.Notification, error) {
	data := ended{
		Request: r.ID, User: r.UserID, Certificate: r.CertificateID, Source: r.Source, Ticket: r.Ticket, State: r.State,
		Reason: r.Reason, Attempts: r.Attempts, Certificates: r.Certificates, ObjectsErased: r.ObjectsErased,
		ObjectsAbsent: r.ObjectsAbsent, ObjectsSoftDeleted: r.ObjectsSoftDeleted, DirectoriesMissing: r.DirectoriesMissing,
		ReferencesCleared: r.ReferencesCleared, ReferencesKept: r.ReferencesKept, RecoverableUntil: r.RecoverableUntil,
		RequestedAt: r.RequestedAt, FinishedAt: *r.FinishedAt,
	}
	return n.notification(mysql.KindRequestEnded, r.ID, fmt.Sprintf("requests/%d", r.ID), *r.FinishedAt, now, data)
}

// notification makes one with an id of its own. The body is made once, so each try sends the same.
func (n *Notifier) notification(kind string, request purge.RequestID, subject string, happened, now time.Time,
	data any,
) (mysql.Notification, error) {
	id := rand.Text()
	body, err := json.Marshal(event{
		SpecVersion: "1.0", ID: id, Source: n.Source, Type: typePrefix + kind, Subject: subject, Time: happened.UTC(),
		DataContentType: "application/json", Data: data,
	})
	return mysql.Notification{
		EventID: id, Kind: kind, Request: request, HappenedAt: happened, CreatedAt: now, Body: body,
	}, err
}

// TestEvent makes the body of an event that is about nothing.
func TestEvent(id, source string, now time.Time) ([]byte, error) {
	return json.Marshal(event{
		SpecVersion: "1.0", ID: id, Source: source, Type: typePrefix + "test", Time: now.UTC(),
		DataContentType: "application/json", Data: struct{}{},
	})
}
