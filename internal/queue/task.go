package queue

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/certpurge/certpurge/internal/purge"
)

// TaskType is the type of every task.
const TaskType = "certificates:purge"

// The queues. A backfill has one of its own, so that a live request never waits behind millions.
const (
	Live     = "purge"
	Backfill = "backfill"
)

// Queues returns the names of all queues.
func Queues() []string { return []string{Live, Backfill} }

// payloadVersion is raised when the meaning of a payload changes. A worker refuses versions that it does not know.
const payloadVersion = 1

// payload is what travels through Redis: numbers, nothing personal. The dashboard shows it to everybody who may look.
type payload struct {
	Version int             `json:"v"`
	Request purge.RequestID `json:"request_id"`
	User    purge.UserID    `json:"user_id"`
}

// TaskID is the id of a user's task: one user, one task in a queue. It has no "-", at which asynqmon cuts ids, and no
// "/", on which its pages break.
func TaskID(user purge.UserID) string { return "purge:" + strconv.FormatInt(int64(user), 10) }

// followUpID is the id of the task that follows an active one, for a request that came while it was ending.
func followUpID(user purge.UserID, request purge.RequestID) string {
	return TaskID(user) + ":" + strconv.FormatInt(int64(request), 10)
}

func encode(task purge.Task) ([]byte, error) {
	return json.Marshal(payload{Version: payloadVersion, Request: task.Request, User: task.User})
}

// errNewerPayload is met in a deployment that upgraded the enqueuer first. The task waits for a worker that knows it.
var errNewerPayload = &purge.Error{
	Class: purge.Misconfigured, Text: fmt.Sprintf("the payload's version is newer than %d, which this worker knows: deploy the worker before the enqueuer", payloadVersion),
}

// decode reads a payload. Its errors never quote the payload: whoever put it there may have put anything in.
func decode(data []byte) (purge.Task, error) {
	var version struct {
		Version *int `json:"v"`
	}
	if err := json.Unmarshal(data, &version); err != nil || version.Version == nil {
		return purge.Task{}, errors.New("the payload is not ours: expected a JSON object with a version")
	}
	if *version.Version > payloadVersion {
		return purge.Task{}, errNewerPayload
	}
	if *version.Version != payloadVersion {
		return purge.Task{}, fmt.Errorf("the payload has version %d, this worker knows version %d only",
			*version.Version, payloadVersion)
	}
	var p payload
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return purge.Task{}, errors.New("the payload is malformed: expected the numbers v, request_id and user_id")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return purge.Task{}, errors.New("the payload is malformed: something follows the object")
	}
	if p.Request <= 0 || !p.User.Valid() {
		return purge.Task{}, errors.New("the payload is malformed: request_id and user_id must be positive ids")
	}
	return purge.Task{Request: p.Request, User: p.User}, nil
}
