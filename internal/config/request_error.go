package config

import (
	"context"
	"errors"
	"net/url"
)

// RequestError shortens the error of an HTTP request to what went wrong. net/http puts the URL of the setting into it,
// which may hold a secret. If ctx has ended, RequestError returns the cause of that.
func RequestError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
