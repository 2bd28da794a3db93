package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/certpurge/certpurge/internal/config"
)

const (
	fetchTimeout = 10 * time.Second
	maxDocument  = 256 << 10 // 16 keys have less than 16 KiB
)

// fetchURL returns a function that gets the document at address. It follows no redirect: one from https to http would
// give away who may sign tokens.
func fetchURL(address string, transport http.RoundTripper) func(context.Context) ([]byte, error) {
	if transport == nil {
		transport = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			ForceAttemptHTTP2:      true,
			TLSHandshakeTimeout:    5 * time.Second,
			ResponseHeaderTimeout:  5 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			DisableKeepAlives:      true, // one request in minutes
		}
	}
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context) ([]byte, error) {
		ctx, cancel := context.WithTimeoutCause(ctx, fetchTimeout, fmt.Errorf("no answer within %s", fetchTimeout))
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
		if err != nil {
			return nil, errors.New("jwt.jwks_url is no URL")
		}
		request.Header.Set("Accept", "application/jwk-set+json, application/json")
		response, err := client.Do(request)
		if err != nil {
			return nil, config.RequestError(ctx, err)
		}
		defer func() { _ = response.Body.Close() }() // Only read from.
		if response.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("the answer is %d, expected 200 and no redirect", response.StatusCode)
		}
		document, err := readAll(response.Body)
		if err != nil {
			return nil, config.RequestError(ctx, err)
		}
		return document, nil
	}
}

// fetchFile returns a function that reads the file at path.
func fetchFile(path string) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) {
		file, err := os.Open(path) //nolint:gosec // Reading the file that the operator names is the point.
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s does not exist", path)
		} else if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }() // Only read from.
		return readAll(file)
	}
}

func readAll(r io.Reader) ([]byte, error) {
	document, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err != nil {
		return nil, err
	}
	if len(document) > maxDocument {
		return nil, fmt.Errorf("it is larger than %d KiB", maxDocument>>10)
	}
	return document, nil
}
