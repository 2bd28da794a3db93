package gcs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/storage"
	"golang.org/x/oauth2"
	"google.golang.org/api/googleapi"

	"github.com/certpurge/certpurge/internal/purge"
)

// Reasons in the errors of the JSON API. (Cloud Storage documentation, "HTTP status and error codes for JSON".)
var (
	throttledReasons = map[string]bool{"rateLimitExceeded": true, "userRateLimitExceeded": true, "quotaExceeded": true}
	// accountReasons are 403s that have nothing to do with the object.
	accountReasons = map[string]bool{
		"accountDisabled": true, "UserProjectAccountProblem": true, "userProjectAccountProblem": true,
		"UserProjectAccessDenied": true,
		"accessNotConfigured":     true, "insufficientPermissions": true, "SERVICE_DISABLED": true,
		"vpcServiceControls": true,
		"projectNotLinked":   true, "billingNotEnabled": true,
	}
)

const retentionReason = "retentionPolicyNotMet"

// classify turns an error of the client library into one with a class and a text that is fit for logs. The library's
// own text is never shown: it holds object names, URLs and accounts.
func classify(doing, bucket string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*purge.Error](err); ok {
		return e // from our own transport
	}
	class, what := explain(err)
	text := doing
	if bucket != "" {
		text = fmt.Sprintf("%s bucket %q", doing, bucket)
	}
	return &purge.Error{Class: class, Text: text + ": " + what, Cause: err}
}

// explain finds the class and says in words what happened. The order matters: the last answer that the service gave
// says more than the fact that there was no time for another try.
func explain(err error) (purge.Class, string) {
	if errors.Is(err, storage.ErrBucketNotExist) {
		return purge.Misconfigured, "there is no such bucket, or something else than Cloud Storage answered"
	}
	if e, ok := errors.AsType[*googleapi.Error](err); ok {
		return explainAnswer(e)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return purge.Transient, "no answer in time; whether it was done is unknown"
	}
	if _, ok := errors.AsType[*auth.Error](err); ok {
		return purge.Misconfigured, "no access token could be obtained"
	}
	if _, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return purge.Misconfigured, "no access token could be obtained"
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok && e.IsNotFound {
		return purge.Misconfigured, "the service's host name does not resolve"
	}
	if isTLS(err) {
		return purge.Misconfigured, "the service's certificate is not trusted"
	}
	if errors.Is(err, errForeignName) {
		return purge.Transient, errForeignName.Error()
	}
	if errors.Is(err, errStuck) {
		return purge.Transient, errStuck.Error()
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		return purge.Transient, "the connection failed; whether it was done is unknown: " + connectionText(e.Err)
	}
	return purge.Transient, "the answer could not be understood"
}

// explainToken distinguishes credentials that are refused from a source of tokens (Google's endpoint, the metadata
// server of the machine) that is slow, overloaded or down. Both concern every user; the latter passes.
func explainToken(err error) (purge.Class, string) {
	if e, ok := errors.AsType[*auth.Error](err); ok && e.Response != nil {
		what := fmt.Sprintf("answer %d", e.Response.StatusCode)
		switch code := e.Response.StatusCode; {
		case code >= http.StatusInternalServerError, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout:
			return purge.Unavailable, what
		default:
			return purge.Misconfigured, what + ": the credentials are not accepted"
		}
	}
	if isTLS(err) {
		return purge.Misconfigured, "the certificate of the token endpoint is not trusted"
	}
	return purge.Unavailable, connectionText(err)
}

// explainAnswer reads an answer of the service, or of something in its place.
func explainAnswer(e *googleapi.Error) (purge.Class, string) {
	reason := reasonOf(e)
	what := fmt.Sprintf("answer %d", e.Code)
	if reason != "" {
		what += fmt.Sprintf(" (%.40s)", purge.Printable(reason))
	}
	requesterPays := strings.Contains(strings.ToLower(e.Message), "requester pays") ||
		strings.EqualFold(reason, "userProjectMissing")
	switch {
	case asksForLess(e):
		return purge.Throttled, what
	case e.Code == http.StatusUnauthorized:
		return purge.Misconfigured, what + ": the credentials are not accepted"
	case e.Code == http.StatusBadRequest && requesterPays:
		return purge.Misconfigured, what + ": the bucket is requester pays; set gcs.user_project"
	case e.Code == http.StatusForbidden && reason == retentionReason:
		return purge.Retained, what + ": a retention period protects the object" // the listing says until when
	case e.Code == http.StatusForbidden && accountReasons[reason]:
		return purge.Misconfigured, what
	case e.Code == http.StatusForbidden && reason == "":
		return purge.Misconfigured, what + " without a reason: something else than Cloud Storage answered"
	case e.Code == http.StatusForbidden:
		return purge.NoPermission, what
	default:
		return purge.Transient, what
	}
}

func reasonOf(e *googleapi.Error) string {
	if len(e.Errors) == 0 {
		return ""
	}
	return e.Errors[0].Reason
}

// asksForLess reports whether an answer is about the rate of requests. A 503 without a reason is not: a few of them are
// normal.
func asksForLess(e *googleapi.Error) bool {
	switch e.Code {
	case http.StatusTooManyRequests:
		return true
	case http.StatusForbidden:
		return throttledReasons[reasonOf(e)]
	case http.StatusServiceUnavailable:
		return throttledReasons[reasonOf(e)] || e.Header.Get("Retry-After") != ""
	default:
		return false
	}
}

// isAboutOneName reports whether an answer that asks for fewer requests means one object and not the bucket. Only the
// message says so. If its wording changes, the whole bucket slows down after such an answer, which costs only time.
func isAboutOneName(e *googleapi.Error) bool {
	return strings.Contains(e.Message, "rate limit for object mutation") ||
		strings.Contains(e.Message, "changes to the object")
}

func isTLS(err error) bool {
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	_, host := errors.AsType[x509.HostnameError](err)
	_, invalid := errors.AsType[x509.CertificateInvalidError](err)
	_, verify := errors.AsType[*tls.CertificateVerificationError](err)
	return authority || host || invalid || verify
}

// connectionText says what kind of failure it was. Other texts than these few may hold what the other side sent.
func connectionText(err error) string {
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		return e.Error() // connection reset by peer, connection refused, …
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return "timeout"
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "closed by the other side"
	}
	return "no connection, or an answer that is none"
}
