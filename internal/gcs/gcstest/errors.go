package gcstest

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// caller is who every request comes from, as the service words it in a refusal.
const caller = "certpurge@example.iam.gserviceaccount.com"

// Error is a refusal, worded as the service words it. The methods of the back door wrap it, so that errors.As finds it.
type Error struct {
	// Code is the HTTP status, 400 to 599.
	Code int
	// Reason is the machine-readable reason, such as notFound, forbidden, conditionNotMet or retentionPolicyNotMet.
	Reason string
	// Message is the text for people.
	Message string
}

// Error returns code, reason and message in one line.
func (e *Error) Error() string {
	return strconv.Itoa(e.Code) + " " + e.Reason + ": " + e.Message
}

func errNoBucket() *Error {
	return &Error{http.StatusNotFound, "notFound", "The specified bucket does not exist."}
}

func errBucketTaken() *Error {
	return &Error{http.StatusConflict, "conflict", "Your previous request to create the named bucket succeeded and you " +
		"already own it."}
}

// errNoObject also answers for a generation that is gone; the message does not name the generation.
func errNoObject(bucket, name string) *Error {
	return &Error{http.StatusNotFound, "notFound", "No such object: " + bucket + "/" + name}
}

func errCondition() *Error {
	return &Error{
		http.StatusPreconditionFailed, "conditionNotMet",
		"At least one of the pre-conditions you specified did not hold.",
	}
}

// errHeld has the reason forbidden, which a missing permission has, too. The documented objectUnderActiveHold was never
// seen (measured 2026-09-30).
func errHeld(bucket, name, kind string) *Error {
	return &Error{
		http.StatusForbidden, "forbidden",
		fmt.Sprintf("Object '%s/%s' is under active %s hold and cannot be deleted, overwritten or archived until hold "+
			"is removed.", bucket, name, kind),
	}
}

// errRetained gives the time as the service does: microseconds, in the zone of its headquarters (measured 2026-09-30).
func errRetained(bucket, name string, until stamp) *Error {
	zone := time.FixedZone("", -7*60*60)
	return &Error{
		http.StatusForbidden, "retentionPolicyNotMet",
		fmt.Sprintf("Object '%s/%s' is subject to bucket's retention policy or object retention and cannot be deleted or "+
			"overwritten until %s",
			bucket, name, until.time().In(zone).Format("2006-01-02T15:04:05.000000-07:00")),
	}
}

// errDenied is the same whether the object exists or not, so it never shows whether something is gone.
func errDenied(permission, resource string) *Error {
	return &Error{
		http.StatusForbidden, "forbidden",
		fmt.Sprintf("%s does not have %s access to the Google Cloud Storage %s. Permission '%s' denied on resource (or it "+
			"may not exist).",
			caller, permission, resource, permission),
	}
}

func errRequesterPays() *Error {
	return &Error{http.StatusBadRequest, "required", "Bucket is a requester pays bucket but no user project provided."}
}

// errSoftDeleteOff answers a look into the soft-deleted area of a bucket without a policy, even where objects deleted
// under an earlier policy are still kept: a client cannot see them.
func errSoftDeleteOff(submission string) *Error {
	return &Error{http.StatusBadRequest, "invalid", "Soft delete policy is required to " + submission}
}

// errNotEmpty is a folder's. (Its code and message were not measured.)
func errNotEmpty() *Error {
	return &Error{http.StatusConflict, "conflict", "The folder you tried to delete is not empty."}
}

// errLocked answers a change that shortens an object's retention. (Its message was not measured.)
func errLocked(bucket, name string) *Error {
	return &Error{
		http.StatusForbidden, "retentionPolicyNotMet",
		fmt.Sprintf("The retention of object '%s/%s' cannot be shortened or removed.", bucket, name),
	}
}

func errInvalid(message string) *Error {
	return &Error{http.StatusBadRequest, "invalid", message}
}

// errNotEmulated is the emulator's own. It is a 400 because no client retries that, and a wrong answer would be worse.
func errNotEmulated(what string) *Error {
	return &Error{http.StatusBadRequest, "notEmulated", "gcstest does not emulate " + what + "."}
}

// defaultError is what the service usually says with a status, for a [Fault] that gives a status only.
func defaultError(f *Fault, bucket, name string) *Error {
	e := &Error{Code: f.Status}
	switch f.Status {
	case http.StatusUnauthorized:
		e.Reason, e.Message = "authError", "Invalid Credentials"
	case http.StatusForbidden:
		e.Reason, e.Message = "forbidden", "Access denied."
	case http.StatusNotFound:
		e.Reason, e.Message = "notFound", "Not Found"
	case http.StatusRequestTimeout:
		e.Reason, e.Message = "requestTimeout", "Request timeout."
	case http.StatusPreconditionFailed:
		e = errCondition()
	case http.StatusTooManyRequests:
		e.Reason = "rateLimitExceeded"
		e.Message = "You have exceeded your bucket's IO capacity. Please follow the request rate and access distribution " +
			"guidelines at " +
			"https://cloud.google.com/storage/docs/request-rate in order to avoid temporary limits on your bucket."
		if f.PerObject {
			e.Message = fmt.Sprintf("The object %s/%s exceeded the rate limit for object mutation operations (create, update, "+
				"and delete). "+
				"Please reduce your request rate. See https://cloud.google.com/storage/docs/gcs429.", bucket, name)
		}
	default:
		e.Reason, e.Message = "invalid", http.StatusText(f.Status)
		if f.Status >= http.StatusInternalServerError {
			e.Reason, e.Message = "backendError", "We encountered an internal error. Please try again."
		}
	}
	e.Reason, e.Message = cmp.Or(f.Reason, e.Reason), cmp.Or(f.Message, e.Message)
	return e
}
