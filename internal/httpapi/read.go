package httpapi

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// Sizes of pages.
const (
	defaultLimit = 100
	maxLimit     = 1000
)

// page is one page of requests, each as the JSON of mysql.Request, which is the schema Request of openapi.yaml.
// NextCursor is empty on the last one.
type page struct {
	Requests   []requestBody `json:"requests"`
	NextCursor string        `json:"next_cursor,omitempty"`
}

// list returns requests in the order of their ids.
func (s *Server) list(w http.ResponseWriter, r *http.Request) *problem {
	filter, after, limit, p := listFilter(r.URL.Query())
	if p != nil {
		return p
	}
	rows, err := s.Ledger.RequestsAfter(r.Context(), filter, after, limit+1)
	if err != nil {
		return s.unavailable(r.Context(), err)
	}
	answer := page{Requests: []requestBody{}}
	for _, row := range rows[:min(len(rows), limit)] {
		answer.Requests = append(answer.Requests, newRequestBody(row))
	}
	if len(rows) > limit {
		answer.NextCursor = strconv.FormatInt(int64(rows[limit-1].ID), 10)
	}
	return writeJSON(w, http.StatusOK, answer)
}

// listFilter reads the query. A parameter that is unknown, empty or there twice is an error: a filter that is silently
// ignored shows more than was requested.
func listFilter(query url.Values) (f mysql.Filter, after purge.RequestID, limit int, p *problem) {
	wrong := func(name, expected string) (mysql.Filter, purge.RequestID, int, *problem) {
		return f, 0, 0, newProblem(http.StatusBadRequest, "wrong_parameter", "%s: expected %s", name, expected)
	}
	limit = defaultLimit
	for name, values := range query {
		if len(values) != 1 || values[0] == "" {
			return wrong("a parameter", "one value for each")
		}
		value := values[0]
		switch name {
		case "user_id":
			user, err := purge.ParseUserID(value)
			if err != nil {
				return wrong(name, "an id of 1 to 2147483647")
			}
			f.User = user
		case "state":
			if !slices.Contains(purge.States(), purge.State(value)) {
				return wrong(name, "one of queued, running, done, refused, failed")
			}
			f.States = []purge.State{purge.State(value)}
		case "reason":
			if !slices.Contains(purge.Reasons(), purge.Reason(value)) {
				return wrong(name, "a reason as requests show it")
			}
			f.Reason = purge.Reason(value)
		case "cursor":
			id, err := strconv.ParseInt(value, 10, 64)
			if err != nil || id < 1 {
				return wrong(name, "the next_cursor of an earlier answer")
			}
			after = purge.RequestID(id)
		case "limit":
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 || n > maxLimit {
				return wrong(name, "1 to 1000")
			}
			limit = n
		default:
			return wrong("the query", "user_id, state, reason, cursor and limit only")
		}
	}
	if f.Reason != "" && len(f.States) == 0 && f.User == 0 {
		return wrong("reason", "a state or a user_id beside it") // there is no index that could find it
	}
	return f, after, limit, nil
}

// evidence streams what the ledger holds as evidence of a user's erasure: the JSON of mysql.EvidenceRecord is the
// schema Evidence of openapi.yaml. An answer that breaks off is cut, so that no reader takes it for the whole.
func (s *Server) evidence(w http.ResponseWriter, r *http.Request) *problem {
	user, err := purge.ParseUserID(r.PathValue("id"))
	if err != nil {
		return newProblem(http.StatusBadRequest, "wrong_id", "the id of a user is a number, 1 to 2147483647")
	}
	begun := false
	lines := json.NewEncoder(w)
	err = s.Ledger.EachEvidence(r.Context(), mysql.EvidenceFilter{User: user}, func(e mysql.EvidenceRecord) error {
		if !begun {
			begun = true
			w.Header().Set("Content-Type", typeNDJSON)
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(http.StatusOK)
		}
		return lines.Encode(newEvidenceBody(e))
	})
	switch {
	case err != nil && begun:
		s.Log.ErrorContext(r.Context(), "reading evidence broke off", slog.Any("error", err))
		panic(http.ErrAbortHandler)
	case err != nil:
		return s.unavailable(r.Context(), err)
	case !begun:
		return s.noEvidence(r.Context(), user)
	}
	return nil
}

// noEvidence says why there is none: an empty answer would hide a mistyped id.
func (s *Server) noEvidence(ctx context.Context, user purge.UserID) *problem {
	rows, err := s.Ledger.RequestsAfter(ctx, mysql.Filter{User: user}, 0, 1)
	if err != nil {
		return s.unavailable(ctx, err)
	}
	if len(rows) > 0 {
		return newProblem(http.StatusNotFound, "no_evidence",
			"requests were made for this user, the first of which is %s, but there is no evidence", rows[0].State).of(rows[0].ID)
	}
	unknown, err := s.Users.UnknownUsers(ctx, []purge.UserID{user})
	switch {
	case err != nil:
		return s.unavailable(ctx, err)
	case len(unknown) > 0:
		return newProblem(http.StatusNotFound, unknownUser, "the LMS has no such user, and no request was ever made for one")
	default:
		return newProblem(http.StatusNotFound, "never_requested", "no request was ever made for this user")
	}
}
