package httpapi

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// The values of the member queue, which are those of the flag of the commands.
const (
	queueLive     = "purge"
	queueBackfill = "backfill"
)

// oneUser is a user, as bodies name one.
type oneUser struct {
	origin

	UserID *int64 `json:"user_id"`
}

// demand is one user of a call, and what the caller says about where the request comes from.
type demand struct {
	user   purge.UserID
	origin origin
}

// demand refuses what cannot be accepted.
func (o oneUser) demand() (demand, *problem) {
	if o.UserID == nil {
		return demand{}, newProblem(http.StatusBadRequest, "wrong_members", "user_id is missing")
	}
	user, p := checkUser("user_id", *o.UserID)
	if p == nil {
		p = o.check()
	}
	return demand{user, o.origin}, p
}

// create takes one user as JSON, or many as NDJSON.
func (s *Server) create(w http.ResponseWriter, r *http.Request) *problem {
	key, p := idempotencyKey(r)
	if p != nil {
		return p
	}
	kind := mediaType(r)
	if kind != typeJSON && kind != typeNDJSON {
		return newProblem(http.StatusUnsupportedMediaType, "media_type",
			"Content-Type must be %s for one user, or %s for many", typeJSON, typeNDJSON)
	}
	data, p := readBody(w, r, int64(s.MaxBody))
	switch {
	case p != nil:
		return p
	case kind == typeNDJSON:
		return s.createMany(w, r, key, data)
	default:
		return s.createOne(w, r, key, data)
	}
}

func (s *Server) createOne(w http.ResponseWriter, r *http.Request, key string, data []byte) *problem {
	var body struct {
		oneUser

		Queue string `json:"queue"`
	}
	if p := decode(data, &body); p != nil {
		return p
	}
	user, p := body.demand()
	if p != nil {
		return p
	}
	intake, p := s.intake(body.Queue)
	if p != nil {
		return p
	}
	accepted, p := s.accept(r, intake, key, data, []demand{user})
	if p != nil {
		return p
	}
	status := http.StatusAccepted
	if !accepted[0].Open {
		status = http.StatusOK // it has ended: nothing is left to be done
	}
	w.Header().Set("Location", s.PathPrefix+"/v1/requests/"+strconv.FormatInt(int64(accepted[0].Request), 10))
	return writeJSON(w, status, accepted[0])
}

func (s *Server) intake(queue string) (Intake, *problem) {
	switch cmp.Or(queue, queueLive) {
	case queueLive:
		return s.Intake, nil
	case queueBackfill:
		return s.Backfill, nil
	default:
		return nil, newProblem(http.StatusBadRequest, "unknown_queue", "queue must be %s or %s", queueLive, queueBackfill)
	}
}

// accept takes users whom the LMS has. A key makes the call repeatable: with the same body it finds the same requests
// as they stand now, with another body it is refused. Without one, asking again for what has failed opens it again.
func (s *Server) accept(r *http.Request, intake Intake, key string, body []byte,
	demands []demand,
) ([]purge.Accepted, *problem) {
	ctx := r.Context()
	users := make([]purge.UserID, len(demands))
	for i, d := range demands {
		users[i] = d.user
	}
	unknown, err := s.Users.UnknownUsers(ctx, users)
	if err != nil {
		return nil, s.unavailable(ctx, err)
	}
	if len(unknown) > 0 {
		return nil, newProblem(http.StatusUnprocessableEntity, "unknown_user", "the LMS has no user %s; nothing was accepted",
			someIDs(unknown))
	}
	replay := false
	if key != "" {
		same, acceptedBefore, err := s.Ledger.SameBody(ctx, key, sha256.Sum256(body))
		if err != nil {
			return nil, s.unavailable(ctx, err)
		}
		if !same {
			return nil, newProblem(http.StatusUnprocessableEntity, "key_reused",
				"this Idempotency-Key came with another body before")
		}
		replay = acceptedBefore // a first call that broke off is no answer: it may not have opened what had failed
	}
	submissions := make([]purge.Submission, len(users))
	for i, d := range demands {
		submissions[i] = purge.Submission{
			User: d.user, Key: purge.DefaultKey(d.user), Source: purge.SourceAPI,
			By: by(r, faceNative, d.origin.RequestedBy), Ticket: d.origin.Ticket, Replay: replay,
		}
		if key != "" && len(users) == 1 {
			submissions[i].Key = key
		}
	}
	accepted, err := intake.Accept(ctx, submissions)
	if refused := errors.Is(err, purge.ErrKeyTaken) || errors.Is(err, purge.ErrTooManyKeys); refused && key != "" &&
		!replay {
		if err := s.Ledger.ForgetBody(ctx, key); err != nil { // refused keys must not make the ledger grow
			return nil, s.unavailable(ctx, err)
		}
	}
	switch {
	case errors.Is(err, purge.ErrKeyTaken):
		return nil, newProblem(http.StatusUnprocessableEntity, "key_reused",
			"this Idempotency-Key belongs to another user's request")
	case errors.Is(err, purge.ErrTooManyKeys):
		return nil, newProblem(http.StatusConflict, "too_many_keys",
			"a request of this user is open, and more than %d keys lead to it: use one key for each intent", purge.MaxKeys)
	case errors.Is(err, purge.ErrNotQueued) && len(accepted) == len(submissions):
		s.Log.WarnContext(ctx, "accepted, but not yet queued: a worker will do that", slog.Any("error", err))
	case err != nil: // of many, some may have been accepted; requesting all again finds them
		return nil, s.unavailable(ctx, err)
	}
	if key != "" && !replay {
		if err := s.Ledger.BodyAccepted(ctx, key); err != nil {
			return nil, s.unavailable(ctx, err)
		}
	}
	return accepted, nil
}

// idempotencyKey reads the header of draft-ietf-httpapi-idempotency-key-header, whose value is a string in quotation
// marks; without them it is taken, too. It returns the key as the ledger holds it, or nothing.
func idempotencyKey(r *http.Request) (string, *problem) {
	values := r.Header.Values("Idempotency-Key")
	if len(values) == 0 {
		return "", nil
	}
	given := strings.TrimSpace(values[0])
	if len(given) > 1 && given[0] == '"' && given[len(given)-1] == '"' {
		given = given[1 : len(given)-1]
	}
	key, err := purge.CallerKey(callerOf(r.Context()).RateKey, given)
	if err != nil || len(values) > 1 || strings.ContainsAny(given, `"\`) {
		return "", newProblem(http.StatusBadRequest, "wrong_key", "Idempotency-Key must be one string of 1 to 255 "+
			"printable ASCII characters")
	}
	return key, nil
}

func (s *Server) show(w http.ResponseWriter, r *http.Request) *problem {
	row, p := s.find(r)
	if p != nil {
		return p
	}
	return writeJSON(w, http.StatusOK, newRequestBody(row))
}

// find reads the request that a path names.
func (s *Server) find(r *http.Request) (mysql.Request, *problem) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil || id < 1 {
		return mysql.Request{}, newProblem(http.StatusBadRequest, "wrong_id", "the id of a request is a positive number")
	}
	rows, err := s.Ledger.Requests(r.Context(), []purge.RequestID{purge.RequestID(id)})
	if err != nil {
		return mysql.Request{}, s.unavailable(r.Context(), err)
	}
	if len(rows) == 0 {
		return mysql.Request{}, newProblem(http.StatusNotFound, "unknown_request", "there is no such request")
	}
	return rows[0], nil
}

// requeue opens a failed or refused request again, with a fresh budget. The body, which may be missing, says where that
// comes from.
func (s *Server) requeue(w http.ResponseWriter, r *http.Request) *problem {
	from, p := s.readOrigin(w, r)
	if p != nil {
		return p
	}
	row, p := s.find(r)
	if p != nil {
		return p
	}
	if row.State != purge.Failed && row.State != purge.Refused {
		return newProblem(http.StatusConflict, "not_failed",
			"the request is %s: only what has failed or was refused can be queued again", row.State).of(row.ID)
	}
	ctx := r.Context()
	n, err := s.Ledger.Reopen(ctx, []purge.RequestID{row.ID}, purge.Reopening{
		By: by(r, faceNative, from.RequestedBy), Ticket: from.Ticket,
	})
	if err != nil {
		return s.unavailable(ctx, err)
	}
	if n == 0 {
		return newProblem(http.StatusConflict, "another_open",
			"another request of the same user is open, or this one was opened meanwhile").of(row.ID)
	}
	if err := s.Queue.Restore(ctx, []purge.OpenRequest{row.Open()}); err != nil {
		s.Log.WarnContext(ctx, "opened again, but not yet queued: a worker will do that", slog.Any("error", err))
	}
	if row, p = s.find(r); p != nil {
		return p
	}
	return writeJSON(w, http.StatusAccepted, newRequestBody(row))
}

// readOrigin reads a body that holds nothing else, or is empty.
func (s *Server) readOrigin(w http.ResponseWriter, r *http.Request) (from origin, p *problem) {
	data, p := readBody(w, r, int64(s.MaxBody))
	if p != nil || len(data) == 0 {
		return from, p
	}
	if mediaType(r) != typeJSON {
		return from, newProblem(http.StatusUnsupportedMediaType, "media_type", "Content-Type must be %s", typeJSON)
	}
	if p = decode(data, &from); p == nil {
		p = from.check()
	}
	return from, p
}
