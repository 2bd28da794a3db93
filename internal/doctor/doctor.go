// Package doctor looks for what is wrong between ledger, Redis and the settings of both servers, and mends what is safe
// to mend. LMS tables, buckets and the states of requests are never touched.
package doctor

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/queue/inspect"
)

// Doctor holds what the checks look at. Set the fields once.
type Doctor struct {
	Store  *mysql.Store
	Role   mysql.Role // of its account
	Redis  redis.UniversalClient
	Keeper *inspect.Keeper
	Grace  time.Duration // requests that were touched within it are left alone
	Now    func() time.Time

	AllEvidence bool // all rows are compared with their keys, not the latest only
}

// Severity says how bad a find is.
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
	Fix      string   `json:"fix"` // what --fix does about it; empty if it is for people to mend
	Fixed    bool     `json:"fixed"`

	mend func(context.Context) (bool, error) // nil if it is for people to mend
}
