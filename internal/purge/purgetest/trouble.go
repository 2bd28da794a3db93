package purgetest

import (
	"errors"

	"github.com/certpurge/certpurge/internal/purge"
)

var (
	// errDone marks a delete that was done although its answer was lost.
	errDone = errors.New("done")
	// errBelieved is a false success: something that is not the store said yes.
	errBelieved = errors.New("believed")
)

// troubleError is what a store that follows the situation table makes of trouble.
func troubleError(op Op, what Trouble) error {
	fail := func(class purge.Class) error {
		return &purge.Error{Class: class, Text: string(op) + ": " + string(what)}
	}
	switch what {
	case NoPermission:
		return fail(purge.NoPermission)
	case ProxyHTML403, AccountDisabled, RequesterPays, BadToken, NoToken, NoSuchHost, UntrustedTLS:
		return fail(purge.Misconfigured)
	case TooManyRequests, OldQuota:
		return fail(purge.Throttled)
	case LostAnswer:
		return &purge.Error{Class: purge.Transient, Text: "answer lost", Cause: errDone}
	case ProxyHTML404, ProxyEmpty404:
		if op == OpList {
			return fail(purge.Misconfigured) // looks like a missing bucket
		}
		return errBelieved
	case ProxyHTML200, ProxyEmpty204, ProxyJSON200, ProxyWrapped200, Proxy202:
		if op == OpDelete {
			return errBelieved
		}
		return fail(purge.Transient)
	default:
		return fail(purge.Transient)
	}
}
