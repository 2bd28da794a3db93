package auth

import (
	"slices"
	"strings"
)

// Rights are a set of things that a caller may do.
type Rights uint8

// The rights of the native face. The driver's face requests a purge, which is Enqueue.
const (
	Enqueue Rights = 1 << iota
	Read
	Requeue
	All = Enqueue | Read | Requeue
)

// rightNames are the rights as the configuration and the challenges name them, in the order of their bits.
var rightNames = []string{"enqueue", "read", "requeue"}

// ParseRight returns the right of that name, and whether there is one.
func ParseRight(name string) (Rights, bool) {
	if bit := slices.Index(rightNames, name); bit >= 0 {
		return 1 << bit, true
	}
	return 0, false
}

// Has reports whether all of r, which is not empty, are in the set.
func (s Rights) Has(r Rights) bool { return r != 0 && s&r == r }

// String lists the rights with commas.
func (s Rights) String() string {
	var names []string
	for bit, name := range rightNames {
		if s.Has(1 << bit) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// Kind is what a caller has shown.
type Kind string

// The two kinds.
const (
	KindToken Kind = "token" // a static bearer token
	KindJWT   Kind = "jwt"   // a JSON Web Token of the LMS
)

// superuser is the name of every superuser: theirs is personal.
const superuser = "superuser"

// Caller is who sends a request. It holds nothing personal and may be logged.
type Caller struct {
	// Name is the name of a static token, the configured service user, or "superuser".
	Name   string
	Kind   Kind
	Rights Rights
	// RateKey is what a Limiter counts by. Callers of different kinds never share one.
	RateKey string
	// Client is the OAuth client that the LMS made a JSON Web Token for, where the token says so in client_id or azp: 1 to
	// 64 letters, digits, '-', '.' and '_'. It is empty otherwise.
	Client string
}

func newCaller(kind Kind, name string, rights Rights) Caller {
	return Caller{Name: name, Kind: kind, Rights: rights, RateKey: string(kind) + ":" + name}
}

// Require returns an [*Error] with status 403 unless the caller has the right.
func (c Caller) Require(r Rights) error {
	if c.Rights.Has(r) {
		return nil
	}
	return &Error{Code: RightMissing, Right: r}
}
