package gcs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"
	"cloud.google.com/go/storage"
	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/api/option"
	htransport "google.golang.org/api/transport/http"

	"github.com/certpurge/certpurge/internal/purge"
)

// newHTTPClient makes the process's one HTTP client, which follows no redirect: net/http would turn a redirected DELETE
// into a GET and report the target's answer as the delete's.
func newHTTPClient(ctx context.Context, cfg Config) (client *http.Client, closeIdle func(), err error) {
	inFlight := cfg.MaxInFlight * len(cfg.Locations.Buckets())
	base := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: 31 * time.Second}, // the client library's own figure
		MaxIdleConns:          inFlight,
		MaxIdleConnsPerHost:   inFlight,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: max(time.Second, cfg.CallTimeout/2), // leaves a lost answer time for another try
	}
	var transport http.RoundTripper = base
	switch {
	case cfg.Transport != nil:
		transport = cfg.Transport
	case !cfg.Anonymous && cfg.EmulatorHost == "":
		if transport, err = authenticated(ctx, base, cfg.CredentialsFile); err != nil {
			text := "loading the Google credentials: none were found; set gcs.credentials_file, or the application default credentials"
			if cfg.CredentialsFile != "" {
				text = fmt.Sprintf("gcs.credentials_file: %q is missing, or not the key file of a service account", cfg.CredentialsFile)
			}
			return nil, nil, &purge.Error{Class: purge.Misconfigured, Cause: err, Text: text}
		}
	}
	return &http.Client{
		Transport:     pacer{answerChecker{observed{transport, cfg.Observe, cfg.Trace}}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, base.CloseIdleConnections, nil
}

// authenticated adds access tokens to every request. The scope is the smallest that may delete.
func authenticated(ctx context.Context, base http.RoundTripper, file string) (http.RoundTripper, error) {
	options := &credentials.DetectOptions{Scopes: []string{storage.ScopeReadWrite}}
	find := func() (*auth.Credentials, error) { return credentials.DetectDefault(options) }
	if file != "" {
		find = func() (*auth.Credentials, error) {
			return credentials.NewCredentialsFromFile(credentials.ServiceAccount, file, options)
		}
	}
	found, err := find()
	if err != nil {
		return nil, err
	}
	found.TokenProvider = tokens{found.TokenProvider}
	return htransport.NewTransport(ctx, base, option.WithAuthCredentials(found))
}

// tokens says what it means that no access token could be had, which the client library mixes with the answers of the
// service.
type tokens struct{ auth.TokenProvider }

// Token implements auth.TokenProvider.
func (t tokens) Token(ctx context.Context) (*auth.Token, error) {
	token, err := t.TokenProvider.Token(ctx)
	if err != nil {
		class, what := explainToken(err)
		return nil, &purge.Error{Class: class, Cause: err, Text: "no access token could be had: " + what}
	}
	return token, nil
}

// answerChecker makes sure that what the client library takes for an answer of the service is one. The library would
// read an empty page, or a bucket without soft delete, from a 204 or from any JSON object, and both are parts of our
// proof.
type answerChecker struct{ next http.RoundTripper }

// The kinds that answers hold (JSON API reference), unless fields are selected; that is why Store selects none.
const (
	listingKind     = "storage#objects"
	bucketKind      = "storage#bucket"
	permissionsKind = "storage#testIamPermissionsResponse"
)

func wantedKind(r *http.Request) string {
	switch {
	case strings.HasSuffix(r.URL.Path, "/o"):
		return listingKind
	case strings.HasSuffix(r.URL.Path, "/iam/testPermissions"):
		return permissionsKind
	default:
		return bucketKind
	}
}

const (
	// maxPage is far above the largest page (1,000 entries of some kilobytes).
	maxPage = 64 << 20
	// maxOther bounds every other answer, of which the client library reads all: settings, errors, what a delete answers.
	maxOther = 1 << 20
)

// budget is how many bytes the pages of one listing may still have.
type budget struct {
	left int64
	all  int64
}

type budgetKey struct{}

func withBudget(ctx context.Context, bytes int64) context.Context {
	return context.WithValue(ctx, budgetKey{}, &budget{left: bytes, all: bytes})
}

// errForeign means that something else than Cloud Storage answered, or Cloud Storage something else than was asked for.
var errForeign = &purge.Error{Class: purge.Transient, Text: "what answered was not Cloud Storage"}

// RoundTrip sends the request and reads the answer to a question whole.
func (t answerChecker) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(r)
	if err != nil {
		return resp, err
	}
	if r.Method != http.MethodGet || resp.StatusCode/100 != 2 {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxOther), resp.Body}
		return resp, nil
	}
	limit := int64(maxPage)
	listing, _ := r.Context().Value(budgetKey{}).(*budget)
	if listing != nil {
		limit = min(limit, listing.left)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if closeErr := resp.Body.Close(); err == nil {
		err = closeErr
	}
	if listing != nil {
		listing.left -= min(int64(len(body)), listing.left)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading an answer: %w", err)
	case int64(len(body)) > limit && listing != nil:
		bucket, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/storage/v1/b/"), "/")
		return nil, tooMany(bucket, fmt.Sprintf("a listing of more than %d bytes (gcs.max_listing_bytes)", listing.all))
	case int64(len(body)) > limit:
		return nil, errForeign
	}
	if resp.StatusCode != http.StatusOK || !isOfKind(body, wantedKind(r)) {
		return nil, errForeign
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// errNoAnswer means that an answer could be read in more ways than one, or is none.
var errNoAnswer = errors.New("no answer of Cloud Storage")

// isOfKind reports whether an answer is one JSON object of a kind. The client library ignores the letter case of members, takes
// the last of several, looks for no error beside a page, and crashes on an entry that is null: an answer in which that matters
// is none.
func isOfKind(body []byte, want string) bool {
	d := jsontext.NewDecoder(bytes.NewReader(body)) // it refuses repeated members, at every depth
	if begin, err := d.ReadToken(); err != nil || begin.Kind() != '{' {
		return false
	}
	kind := ""
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil || readMember(d, name.String(), &kind) != nil {
			return false
		}
	}
	if _, err := d.ReadToken(); err != nil { // the end of the object
		return false
	}
	_, err := d.ReadToken()
	return errors.Is(err, io.EOF) && kind == want
}

// readMember reads the value of one member of an answer.
func readMember(d *jsontext.Decoder, name string, kind *string) error {
	switch name {
	case "kind", "nextPageToken":
		value, err := d.ReadToken()
		if err != nil || value.Kind() != '"' {
			return errNoAnswer
		}
		if name == "kind" {
			*kind = value.String()
		}
		return nil
	case "items":
		if begin, err := d.ReadToken(); err != nil || begin.Kind() != '[' {
			return errNoAnswer
		}
		for d.PeekKind() == '{' {
			if err := d.SkipValue(); err != nil {
				return err
			}
		}
		if end, err := d.ReadToken(); err != nil || end.Kind() != ']' {
			return errNoAnswer
		}
		return nil
	}
	for _, meant := range []string{"kind", "nextPageToken", "items", "error", "errors"} {
		if strings.EqualFold(name, meant) {
			return errNoAnswer
		}
	}
	return d.SkipValue()
}
