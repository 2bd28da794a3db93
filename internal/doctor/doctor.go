// Package doctor keeps Redis in agreement with the ledger, and checks the ledger, Redis, the workers and the settings
// of both servers. The Reconciler does the first by itself, round after round; the Doctor reports findings to an
// operator and fixes those that are safe to fix. Neither touches LMS tables, buckets or the states of requests.
package doctor

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/queue/inspect"
)

// Doctor makes the checks. Set the fields once.
type Doctor struct {
	Store  *mysql.Store
	Role   mysql.Role // of its account
	Redis  redis.UniversalClient
	Keeper *inspect.Keeper
	Grace  time.Duration // requests that were touched within it are ignored
	Now    func() time.Time

	AllEvidence bool // check all rows of evidence, not only the latest
}

// Severity says how bad a finding is.
type Severity string

// Errors do not pass by themselves, warnings may hurt later, notes are worth knowing. Only notes leave the exit code at
// 0.
const (
	Severe Severity = "error"
	Warn   Severity = "warning"
	Note   Severity = "note"
)

// Finding is one thing that is wrong.
type Finding struct {
	Severity Severity `json:"severity"`
	Kind     string   `json:"kind"`
	Subject  string   `json:"subject"`
	Text     string   `json:"text"`
	Fix      string   `json:"fix"` // what --fix does about it; empty if the operator has to fix it
	Fixed    bool     `json:"fixed"`

	fix    func(context.Context) (done bool, err error) // nil if the operator has to fix it
	blocks bool                                         // other checks of the server fail because of it
}
