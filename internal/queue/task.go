package queue

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"github.com/go-json-experiment/json"

	"github.com/certpurge/certpurge/internal/purge"
)

// TaskType is the type of every task.
const TaskType = "certificates:purge"

// The queues. A backfill has one of its own, so that a live request never waits for millions of others.
const (
	Live     = "purge"
	Backfill = "backfill"
)

// Queues returns the names of all queues.
func Queues() []string { return []string{Live, Backfill} }

// A payload has the lowest version that can express it, so that older workers run the tasks they understand and leave
// the rest to newer ones: a worker that does not know of certificates would purge the whole user.
const (
	wholeUser      = 1
	oneCertificate = 2
	orphanSet      = 3
	newestPayload  = orphanSet
)

// payload is stored in Redis: numbers, nothing personal. The dashboard shows it to all users with the right to read.
type payload struct {
	Version     int                 `json:"v"`
	Request     purge.RequestID     `json:"request_id"`
	User        purge.UserID        `json:"user_id"`
	Certificate purge.CertificateID `json:"certificate_id,omitzero"` // of versions 2 and 3
}

// TaskID is the ID of a task: one for each user in a queue, and one for each certificate, or each set of orphans, that
// is requested by itself. It has no "-", at which asynqmon cuts ids, and no "/", which breaks asynqmon's pages.
func TaskID(task purge.Task) string {
	id := "purge:" + strconv.FormatInt(int64(task.User), 10)
	if task.Certificate != 0 {
		id += ":c" + strconv.FormatInt(int64(task.Certificate), 10)
	}
	return id
}

// FollowUpID is the ID of the task that follows an active one, for a request that was made while that was ending.
func FollowUpID(task purge.Task) string {
	return TaskID(task) + ":" + strconv.FormatInt(int64(task.Request), 10)
}

// taskIDs matches what TaskID and FollowUpID return.
var taskIDs = regexp.MustCompile(`^purge:(?:([1-9]\d*)(?::c[1-9]\d{0,18})?|0:c[1-9]\d{0,18})(?::[1-9]\d{0,18})?$`)

// UserOf reads the user from the ID of a task or of a follow-up: 0 for a set of orphans. ours is false for other IDs.
func UserOf(id string) (user purge.UserID, ours bool) {
	match := taskIDs.FindStringSubmatch(id)
	if match == nil || match[1] == "" {
		return 0, match != nil
	}
	user, err := purge.ParseUserID(match[1])
	return user, err == nil
}

func encode(task purge.Task) ([]byte, error) {
	version := wholeUser
	switch {
	case task.AboutOrphans():
		version = orphanSet
	case task.Certificate != 0:
		version = oneCertificate
	}
	return json.Marshal(payload{Version: version, Request: task.Request, User: task.User, Certificate: task.Certificate})
}

// errNewerPayload occurs in a deployment that upgraded the enqueuer first. The task waits for a worker that knows it.
var errNewerPayload = &purge.Error{
	Class: purge.Misconfigured, Text: fmt.Sprintf("the payload's version is newer than %d, which this worker knows: "+
		"deploy the worker before the enqueuer", newestPayload),
}

// maxPayload is in bytes, far above what any version needs.
const maxPayload = 4 << 10

// decode reads a payload. Its errors never quote the payload, which may hold anything.
func decode(data []byte) (purge.Task, error) {
	if len(data) > maxPayload {
		return purge.Task{}, fmt.Errorf("the payload is not ours: it has %d bytes, expected %d at most", len(data),
			maxPayload)
	}
	// The member names are compared with their case, and none may be there twice, so there is one way to read a payload.
	var version struct {
		Version *int `json:"v"`
	}
	if err := json.Unmarshal(data, &version); err != nil || version.Version == nil {
		return purge.Task{}, errors.New("the payload is not ours: expected a JSON object with a version")
	}
	if *version.Version > newestPayload {
		return purge.Task{}, errNewerPayload
	}
	if *version.Version < wholeUser {
		return purge.Task{}, fmt.Errorf("the payload has version %d, expected %d to %d", *version.Version, wholeUser,
			newestPayload)
	}
	var p payload
	if err := json.Unmarshal(data, &p, json.RejectUnknownMembers(true)); err != nil {
		return purge.Task{}, errors.New("the payload is malformed: expected the numbers v, request_id and user_id, each once")
	}
	if p.Request <= 0 || (p.Version == orphanSet) != (p.User == 0) || p.User != 0 && !p.User.Valid() {
		return purge.Task{}, errors.New("the payload is malformed: request_id and user_id must be positive ids, user_id of " +
			"version 3 is 0")
	}
	if (p.Version >= oneCertificate) != (p.Certificate != 0) || p.Certificate < 0 {
		return purge.Task{}, errors.New("the payload is malformed: certificate_id belongs to versions 2 and 3, and " +
			"is positive")
	}
	return purge.Task{Request: p.Request, User: p.User, Certificate: p.Certificate}, nil
}

// FormatPayload shows the numbers of a payload of ours. What other programs have put into Redis may hold anything.
func FormatPayload(data []byte) string {
	task, err := decode(data)
	if err != nil {
		return "(not shown: no payload of this version)"
	}
	text, err := encode(task)
	if err != nil {
		return "(not shown)"
	}
	return string(text)
}
