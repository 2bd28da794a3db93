package httpapi

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/certpurge/certpurge/internal/purge"
)

// The media types of bodies.
const (
	typeJSON   = "application/json"
	typeNDJSON = "application/x-ndjson"
)

// mediaType is what the client says its body is; empty if it says nothing.
func mediaType(r *http.Request) string {
	given := r.Header.Get("Content-Type")
	if given == "" {
		return ""
	}
	parsed, _, err := mime.ParseMediaType(given)
	if err != nil {
		return "malformed"
	}
	return parsed
}

// readBody reads a whole body, which must not be longer than the limit.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, *problem) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, newProblem(http.StatusRequestEntityTooLarge, "body_too_large", "the body is longer than %d bytes", limit)
	}
	if err != nil {
		return nil, newProblem(http.StatusBadRequest, "body_unreadable", "the body could not be read to its end")
	}
	return data, nil
}

// decode reads one JSON object. Unknown and repeated names are errors, letter case counts, and nothing may follow. The
// problem never repeats the input, which may hold a name.
func decode(data []byte, into any) *problem {
	err := json.Unmarshal(data, into, json.RejectUnknownMembers(true))
	if err == nil {
		return nil
	}
	if semantic, ok := errors.AsType[*json.SemanticError](err); ok {
		switch {
		case errors.Is(err, json.ErrUnknownName):
			return newProblem(http.StatusBadRequest, "unknown_member", "the body has a member that is not expected here")
		case semantic.JSONPointer != "" && isField(string(semantic.JSONPointer)):
			return newProblem(http.StatusBadRequest, "wrong_type", "%s is not what is expected there",
				strings.TrimPrefix(string(semantic.JSONPointer), "/"))
		default:
			return newProblem(http.StatusBadRequest, "wrong_type", "the body is not an object as expected here")
		}
	}
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return newProblem(http.StatusBadRequest, "duplicate_member", "the body has a member twice")
	}
	return newProblem(http.StatusBadRequest, "not_json", "the body is not one JSON object")
}

// isField distinguishes our own names from what a client sent as a name.
func isField(pointer string) bool {
	switch pointer {
	case "/user_id", "/queue", "/ticket", "/requested_by",
		"/lms_user_id", "/edx_lms_user_id", "/original_username", "/username":
		return true
	default:
		return false
	}
}

// origin is what a caller says about where a request comes from; both members may be missing.
type origin struct {
	Ticket      string `json:"ticket"`
	RequestedBy string `json:"requested_by"`
}

// check refuses what the ledger cannot keep as it is. The problem does not repeat the input, which may hold a name.
func (o origin) check() *problem {
	if err := purge.CheckTicket(o.Ticket); err != nil {
		return newProblem(http.StatusBadRequest, "wrong_ticket", "ticket: %v", err)
	}
	if err := purge.CheckBehalf(o.RequestedBy); err != nil {
		return newProblem(http.StatusBadRequest, "wrong_requested_by", "requested_by: %v", err)
	}
	return nil
}

// checkUser refuses numbers that no LMS user can have.
func checkUser(name string, id int64) (purge.UserID, *problem) {
	if user := purge.UserID(id); user.Valid() {
		return user, nil
	}
	return 0, newProblem(http.StatusBadRequest, "user_id_out_of_range", "%s must be the LMS's numeric id, 1 to 2147483647",
		name)
}
