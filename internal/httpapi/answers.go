package httpapi

import (
	"net/http"
	"time"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// The driver finishes its stage for any 2xx with a JSON body and for 204; it takes a 404 for success, too. It asks
// again for up to ten minutes on a 5xx other than 504. Everything else puts the learner into ERRORED with the status
// and its reason phrase, but not the body. (Measured: docs/integrations.md.) So each end that is not a success has a
// status of its own kind, of those that are not retried, and no status that the driver would misunderstand is ever
// sent: no 202, 429, 504, no redirect, no empty 200, and no 404.

// stillRunning is the answer that the driver asks again after.
func stillRunning(request purge.RequestID) *problem {
	return newProblem(http.StatusServiceUnavailable, "running",
		"the purge has not ended yet: ask again").of(request).after(5 * time.Second)
}

// answer makes the driver's answer of a request that has ended, or that waits for a date: nil for 204. What is done
// although files were missing is a success, too, but one with a body: the driver writes it into the LMS's record of the
// retirement.
func answer(r mysql.Request) *problem {
	status, code, text := http.StatusServiceUnavailable, "running", "the purge has not ended yet: ask again"
	switch {
	case r.State == purge.Done && r.Reason == purge.ReasonFilesMissing:
		status, code, text = http.StatusOK, string(r.Reason), "done, but some expected files were never found, which "+
			"was accepted"
	case r.State == purge.Done:
		return nil
	case r.Reason == purge.ReasonNotRetiring:
		status, code, text = http.StatusConflict, string(r.Reason),
			"the user has no retirement request, or is in a state in which nothing may be erased"
	case r.Reason == purge.ReasonUnknownUser:
		status, code, text = http.StatusConflict, string(r.Reason), noSuchUser
	case r.Reason == purge.ReasonUnrecognised:
		status, code, text = http.StatusUnprocessableEntity, string(r.Reason), "no file can be named from a link of the user"
	case r.Reason == purge.ReasonHeld:
		status, code, text = http.StatusLocked, string(r.Reason), "a hold protects a file of the user"
	case r.Reason == purge.ReasonRetained, r.Reason == purge.ReasonSoftDeleted:
		status, code, text = http.StatusLocked, string(r.Reason), "a file of the user is protected until a date; it is "+
			"tried again after it"
	case r.State.Ended(): // no_permission, shared_directory, too_many_objects, files_missing, gave_up
		status, code, text = http.StatusFailedDependency, string(r.Reason), "what the purge depends on did not let it end"
	}
	return newProblem(status, code, "%s", text).of(r.ID)
}

// settled reports whether nothing will happen to a request soon: it has ended, or it waits for a date and has been
// checked since it was requested.
func settled(r mysql.Request, attemptsBefore int) bool {
	return r.State.Ended() || r.NotBefore != nil && r.Attempts > attemptsBefore
}
