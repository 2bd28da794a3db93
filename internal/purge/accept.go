package purge

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Submission is a request to purge one user, not yet recorded.
type Submission struct {
	User        UserID
	Certificate CertificateID // this one only; 0 for all of the user's
	Key         string        // idempotency key; DefaultKey or CertificateKey unless the caller gave one
	Source      Source
	Trace       string // of the caller, as a W3C traceparent; empty for none
	// AcceptMissing says who accepts that files of this request are missing; empty if they are not accepted.
	AcceptMissing string
	// AcceptShared says who accepts that directories are erased although a row of another user names them, too; empty if
	// that is not accepted.
	AcceptShared string
	// By says who submits, through which interface and from where, for the ledger: no personal data of learners.
	By string
	// Ticket is the caller's own reference, such as the number of a ticket; empty for none.
	Ticket string
	// Replay marks the repetition of an earlier call with the same key: if its request has ended, the answer is the
	// request as it is, which is not opened again.
	Replay bool
}

// Reopening says who opens an ended request again, and what they accept in this run.
type Reopening struct {
	By            string // as Submission.By
	AcceptMissing string // as Submission.AcceptMissing
	AcceptShared  string // as Submission.AcceptShared
	Ticket        string // as Submission.Ticket
}

// Reopening returns what applies if the submission meets a request that has ended.
func (s Submission) Reopening() Reopening {
	return Reopening{s.By, s.AcceptMissing, s.AcceptShared, s.Ticket}
}

const (
	maxTicket     = 64  // characters
	maxBehalf     = 64  // bytes
	maxSubmitter  = 160 // bytes that the ledger keeps of Submission.By
	behalfJoining = " for "
)

// CheckTicket rejects a ticket that the ledger would have to change. Its error does not repeat the ticket.
func CheckTicket(ticket string) error {
	if !printable(ticket) || utf8.RuneCountInString(ticket) > maxTicket {
		return fmt.Errorf("expected at most %d printable characters, got %d", maxTicket, utf8.RuneCountInString(ticket))
	}
	return nil
}

// CheckBehalf rejects a name that OnBehalf would have to change. Its error does not repeat the name.
func CheckBehalf(name string) error {
	if !printable(name) || len(name) > maxBehalf {
		return fmt.Errorf("expected a name of at most %d bytes, all of them printable, got %d bytes", maxBehalf, len(name))
	}
	return nil
}

func printable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// OnBehalf adds to a Submission.By for whom the operator, or a caller, submits; it returns by if name is empty. It
// keeps the whole name, which CheckBehalf has checked, and shortens by.
func OnBehalf(by, name string) string {
	if name == "" {
		return by
	}
	end := behalfJoining + name
	return strings.ToValidUTF8(by[:min(len(by), maxSubmitter-len(end))], "") + end
}

// Found says in which state a submission met its request.
type Found string

// FoundNew means that the submission made a new request. The other values are the state that the earlier request was
// in.
const FoundNew Found = "new"

// Accepted is the answer to a submission.
type Accepted struct {
	Request     RequestID     `json:"request_id"`
	User        UserID        `json:"user_id"`
	Certificate CertificateID `json:"certificate_id,omitempty"`
	Found       Found         `json:"found"`
	// Open means queued or running now. Otherwise the request was done before and no reference is left, or it had ended
	// and the submission was a replay.
	Open bool `json:"open"`
	// Reason is that of a request that is not open: files_missing, if it is done with files missing.
	Reason Reason `json:"reason,omitempty"`
	// Ticket is that of the submission that made the request.
	Ticket string `json:"ticket,omitempty"`
	// Attempts is how many the request had before this submission.
	Attempts int `json:"-"`
}

// OpenRequest is a request that has not ended.
type OpenRequest struct {
	Request     RequestID
	User        UserID
	Certificate CertificateID
	Source      Source
}

// Task is the task that a request needs.
func (r OpenRequest) Task() Task {
	return Task{Request: r.Request, User: r.User, Certificate: r.Certificate}
}

// Requests is the part of the ledger that takes submissions.
type Requests interface {
	// Accept makes or finds one request for each submission and returns only when all are durable. The answers are those
	// that accepting one submission after the other would give; of several equal submissions at the same time, one
	// finds it new. A user, and each certificate, has at most one open request: a new key belongs to it from then on, and
	// so does the key of a request that has ended. At most MaxKeys keys belong to one request, then ErrTooManyKeys; a
	// default key is always accepted. A request that has ended is opened again, unless it is done and the LMS database
	// shows no reference of the user, or of the request's certificate, or unless the submission is a replay. What a
	// submission accepts counts until its request ends. A key of a request, or of another submission in the same call,
	// about another user or certificate is ErrKeyTaken. After either error nothing is accepted.
	Accept(ctx context.Context, submissions []Submission) ([]Accepted, error)
}

// Tasks puts tasks into the queue.
type Tasks interface {
	// Enqueue puts a task for each request into the queue. A task that is there already counts as success. A
	// *NotQueuedError says which tasks may be missing; after any other error, all may be.
	Enqueue(ctx context.Context, tasks []Task) error
}

// ErrKeyTaken means that an idempotency key was used for another user, or for another certificate, before.
var ErrKeyTaken = errors.New("the idempotency key belongs to another user's request")

// ErrNotQueued means that requests are in the ledger, but their tasks could not be put into the queue. Nothing is lost:
// accepting the same submissions again puts them there.
var ErrNotQueued = errors.New("accepted, but not yet queued")

// NotQueuedError says which requests' tasks may be missing in the queue: a command whose answer was lost may have put
// one there all the same.
type NotQueuedError struct {
	Requests []RequestID
	Cause    error // of the first; the others may have their own, or were not tried
}

// Error implements error.
func (e *NotQueuedError) Error() string {
	text := fmt.Sprintf("queueing request %d: %v", e.Requests[0], e.Cause)
	if more := len(e.Requests) - 1; more > 0 {
		text += fmt.Sprintf(" (and %d more)", more)
	}
	return text
}

// Unwrap returns the cause.
func (e *NotQueuedError) Unwrap() error { return e.Cause }

// DefaultKey is the idempotency key of a submission whose caller gave none.
func DefaultKey(user UserID) string { return fmt.Sprintf("user:%d", user) }

// CertificateKey is DefaultKey of a submission that is about one certificate.
func CertificateKey(certificate CertificateID) string {
	return fmt.Sprintf("certificate:%d", certificate)
}

// HasOwnKey reports whether a caller gave the key. If not, it is the default key of the user or certificate, which does
// not count towards MaxKeys.
func (s Submission) HasOwnKey() bool {
	return s.Key != DefaultKey(s.User) && (s.Certificate == 0 || s.Key != CertificateKey(s.Certificate))
}

const (
	maxKeyLength = 255 // of what callers may send, in bytes
	maxLedgerKey = 128 // of what the ledger holds of it
)

// MaxKeys is how many idempotency keys may belong to one request, besides its first: a caller uses one for each intent.
// Calls that run at the same time count the keys before any of them has written its own, so they may exceed the limit.
const MaxKeys = 1_000

// ErrTooManyKeys means that an open request has as many idempotency keys already as one may have.
var ErrTooManyKeys = errors.New("the request has too many idempotency keys already: expected one for each intent, " +
	"repeated when it is tried again")

// CallerKey makes an idempotency key from the caller's: printable ASCII without spaces, 1 to 255 characters. The
// ledger holds a hash, because callers put names and addresses into their keys. A key belongs to its caller: the same
// key of another caller is another key. The caller is empty for commands.
func CallerKey(caller, given string) (string, error) {
	if given == "" || len(given) > maxKeyLength {
		return "", fmt.Errorf("the idempotency key has %d characters: expected 1 to %d", len(given), maxKeyLength)
	}
	for _, c := range []byte(given) {
		if c <= ' ' || c > '~' {
			return "", errors.New("the idempotency key may hold printable ASCII characters without spaces only")
		}
	}
	if caller != "" {
		given = caller + "\x00" + given
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(given))), nil
}
