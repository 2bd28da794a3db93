package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// driverPaths are the paths of the driver face: those that the driver's service classes have built in, with the class,
// and one of our own for configurations that name a path.
var driverPaths = map[string]string{
	"/api/v1/retire_user":                      "LICENSE_MANAGER",
	"/api/v2/user/retire":                      "ECOMMERCE",
	"/user/retire":                             "CREDENTIALS",
	"/demographics/api/v1/retire_demographics": "DEMOGRAPHICS", // of drivers before 2024
	"/api/v1/retire":                           "",
}

// wanted is the body of a driver's request. Each class sends some of these.
type wanted struct {
	LMSUserID    *int64  `json:"lms_user_id"`
	EdxLMSUserID *int64  `json:"edx_lms_user_id"`
	OriginalName *string `json:"original_username"`
	Name         *string `json:"username"`
}

// maxNameLength is the width of auth_user.username (Django).
const maxNameLength = 150

// redactedName is what the LMS writes over the name of a user whose retirement is complete, before it deletes the row.
const redactedName = "redacted"

// The codes of those whom the LMS does not know.
const (
	unknownUser = "unknown_user"
	unknownName = "unknown_name"
)

// noSuchUser is the detail of unknownUser for the driver.
const noSuchUser = "the LMS database has no such user: does certpurge read the driver's LMS database?"

// who finds the user that a body means.
func (s *Server) who(ctx context.Context, data []byte) (purge.UserID, *problem) {
	var body wanted
	if p := decode(data, &body); p != nil {
		return 0, p
	}
	given := 0
	for _, there := range []bool{body.LMSUserID != nil, body.EdxLMSUserID != nil, body.Name != nil} {
		if there {
			given++
		}
	}
	switch {
	case given != 1 || body.OriginalName != nil && body.LMSUserID == nil:
		return 0, newProblem(http.StatusBadRequest, "wrong_members",
			"expected one of lms_user_id (original_username may stand beside it), edx_lms_user_id and username")
	case body.Name != nil:
		return s.byName(ctx, "username", *body.Name)
	case body.EdxLMSUserID != nil:
		return s.byID(ctx, "edx_lms_user_id", *body.EdxLMSUserID)
	}
	user, p := s.byID(ctx, "lms_user_id", *body.LMSUserID)
	if p != nil && p.Code != unknownUser || body.OriginalName == nil || *body.OriginalName == redactedName {
		return user, p
	}
	if other := s.sameUser(ctx, user, *body.OriginalName); other != nil {
		return 0, other
	}
	return user, p
}

// sameUser compares the two descriptions of one user. If they disagree, another user's files would be erased, or the
// LMS database is another than the driver's, where the same numbers are other people: then the driver's learner would
// be complete with all links left.
func (s *Server) sameUser(ctx context.Context, user purge.UserID, name string) *problem {
	named, p := s.byName(ctx, "original_username", name)
	if p == nil && named == user {
		return nil
	}
	if p != nil {
		if p.Code != unknownName {
			return p
		}
		own, err := s.Users.OriginalName(ctx, user)
		if err != nil {
			return s.unavailable(ctx, err)
		}
		if own == "" || own == redactedName {
			return nil // the row has been redacted or cleaned up: it says nothing about the name
		}
	}
	return newProblem(http.StatusConflict, "names_another_user",
		"original_username is not the name of lms_user_id: does certpurge read the driver's LMS database?")
}

// byID finds the user of an id. Retirement keeps the user's row, so a missing one is a mistake in the configuration. It
// is no 404, which the driver takes for success.
func (s *Server) byID(ctx context.Context, member string, id int64) (purge.UserID, *problem) {
	user, p := checkUser(member, id)
	if p != nil {
		return 0, p
	}
	unknown, err := s.Users.UnknownUsers(ctx, []purge.UserID{user})
	if err != nil {
		return 0, s.unavailable(ctx, err)
	}
	if len(unknown) > 0 {
		return user, newProblem(http.StatusConflict, unknownUser, noSuchUser)
	}
	return user, nil
}

func (s *Server) byName(ctx context.Context, member, name string) (purge.UserID, *problem) {
	switch {
	case name == "" || len([]rune(name)) > maxNameLength:
		return 0, newProblem(http.StatusBadRequest, "wrong_name", "%s must have 1 to %d characters", member, maxNameLength)
	case name == redactedName:
		return 0, newProblem(http.StatusConflict, "redacted_name",
			"the retirement row of this user has been redacted; request the numeric user id instead")
	}
	user, err := s.Users.UserByOriginalName(ctx, name)
	switch {
	case errors.Is(err, mysql.ErrNoSuchName):
		return 0, newProblem(http.StatusConflict, unknownName, "no retirement row holds this user name (compared exactly)")
	case errors.Is(err, mysql.ErrAmbiguousName):
		return 0, newProblem(http.StatusConflict, "ambiguous_name", "several retirement rows hold this user name")
	case err != nil:
		return 0, s.unavailable(ctx, err)
	}
	return user, nil
}

// retire is the driver face: it requests the purge, or finds that it has been requested, and holds the answer back
// until the purge has ended, but not longer than the configured time.
func (s *Server) retire(w http.ResponseWriter, r *http.Request) *problem {
	data, p := readBody(w, r, int64(s.MaxBody))
	if p != nil {
		return p
	}
	user, p := s.who(r.Context(), data)
	if p == nil {
		p = s.retireUser(r.Context(), user, runOf(r), by(r, faceDriver, ""))
	}
	switch {
	case p == nil:
		w.WriteHeader(http.StatusNoContent)
	case p.Status == http.StatusOK:
		return writeJSON(w, p.Status, p)
	}
	return p
}

// unavailable is the answer to a failure of the databases.
func (s *Server) unavailable(ctx context.Context, err error) *problem {
	if ctx.Err() == nil {
		s.Log.ErrorContext(ctx, "asking the databases failed", slog.Any("error", err))
	}
	return newProblem(http.StatusServiceUnavailable, "unavailable",
		"a database cannot be reached: ask again").after(5 * time.Second)
}
