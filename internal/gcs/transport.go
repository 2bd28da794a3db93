package gcs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
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
func newHTTPClient(
	ctx context.Context, cfg Config, who *account, serviceClock *clock,
) (client *http.Client, closeIdle func(), err error) {
	inFlight := cfg.MaxInFlight * max(1, len(cfg.Locations.Buckets()))
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

		MaxResponseHeaderBytes: maxHeader,
	}
	var transport http.RoundTripper = base
	switch {
	case cfg.Transport != nil:
		transport = cfg.Transport
	case !cfg.Anonymous && cfg.variable(emulatorVariable) == "":
		if transport, *who, err = authenticated(ctx, base, cfg); err != nil {
			text := "loading the Google credentials: none were found; set gcs.credentials_file, or the application default " +
				"credentials"
			if cfg.CredentialsFile != "" {
				text = fmt.Sprintf("gcs.credentials_file: %q is missing, or not the key file of a service account",
					cfg.CredentialsFile)
			}
			return nil, nil, &purge.Error{Class: purge.Misconfigured, Cause: err, Text: text}
		}
	}
	if cfg.BatchDeletes {
		transport = newBatcher(transport, cfg)
	}
	return &http.Client{
		Transport:     withoutACL{pacer{answerChecker{observed{transport, cfg.Observe, cfg.Trace, serviceClock}}}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, base.CloseIdleConnections, nil
}

// authenticated adds access tokens to every request. The scope is the smallest that may delete.
func authenticated(ctx context.Context, base http.RoundTripper, cfg Config) (http.RoundTripper, account, error) {
	options := &credentials.DetectOptions{Scopes: []string{storage.ScopeReadWrite}}
	find := func() (*auth.Credentials, error) { return credentials.DetectDefault(options) }
	if cfg.CredentialsFile != "" {
		find = func() (*auth.Credentials, error) {
			return credentials.NewCredentialsFromFile(credentials.ServiceAccount, cfg.CredentialsFile, options)
		}
	}
	found, err := find()
	if err != nil {
		return nil, account{}, err
	}
	found.TokenProvider = tokens{found.TokenProvider}
	who := account{credentials: found}
	switch { // in the order of DetectDefault
	case cfg.CredentialsFile != "":
		who.found = "gcs.credentials_file"
	case cfg.variable("GOOGLE_APPLICATION_CREDENTIALS") != "":
		who.found = "GOOGLE_APPLICATION_CREDENTIALS"
	case len(found.JSON()) > 0:
		who.found = "gcloud's application default credentials"
	default:
		who.found = "the machine's metadata server (Workload Identity, or a service account of the machine)"
	}
	transport, err := htransport.NewTransport(ctx, base, option.WithAuthCredentials(found))
	return transport, who, err
}

// tokens gives the failure to obtain an access token a class of its own. The client library does not distinguish it
// from an answer of the service.
type tokens struct{ auth.TokenProvider }

// Token implements auth.TokenProvider.
func (t tokens) Token(ctx context.Context) (*auth.Token, error) {
	token, err := t.TokenProvider.Token(ctx)
	if err != nil {
		class, what := explainToken(err)
		return nil, &purge.Error{Class: class, Cause: err, Text: "no access token could be obtained: " + what}
	}
	return token, nil
}

// withoutACL removes the access control lists from requests. The client library always requests those of a bucket, and
// the service may refuse that to an account without the permission storage.buckets.getIamPolicy.
type withoutACL struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t withoutACL) RoundTrip(r *http.Request) (*http.Response, error) {
	if before, after, full := strings.Cut(r.URL.RawQuery, "projection=full"); full {
		r = r.Clone(r.Context())
		r.URL.RawQuery = before + "projection=noAcl" + after
	}
	return t.next.RoundTrip(r)
}

// answerChecker makes sure that an answer comes from the service. The client library would read an empty page, or a
// bucket without soft delete, from a 204 or from any JSON object, and both are parts of the proof.
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
	// maxHeader bounds the header of every answer; the service's has about 1 KiB.
	maxHeader = 64 << 10
	// maxEmpty is how many pages in a row may hold nothing. The service may answer such pages, though rarely many.
	maxEmpty = 1_000
)

// listing bounds the pages of one listing, which are requested one after the other.
type listing struct {
	left  int64 // bytes that further pages may have
	all   int64 // bytes that all pages may have
	empty int   // consecutive pages without an item, up to the latest
	seed  maphash.Seed
	order map[uint64]int // number of each page, by the hash of its token, because a bucket may have many pages
}

func newListing(bytes int64) *listing { return &listing{left: bytes, all: bytes} }

// addPage counts a page, and fails if it leads back to one that came before it, or if too many in a row held nothing.
// The client library goes from one empty page to the next by itself, and a page may be requested again.
func (l *listing) addPage(u *url.URL, page shape) error {
	if l.order == nil {
		if page.next == "" {
			return nil // the only page, as of nearly every directory
		}
		l.seed, l.order = maphash.MakeSeed(), map[uint64]int{}
	}
	hash := maphash.String(l.seed, u.Query().Get("pageToken"))
	at, again := l.order[hash]
	switch {
	case again:
	case page.items > 0:
		l.empty = 0
	default:
		l.empty++
	}
	if !again {
		at = len(l.order)
		l.order[hash] = at
	}
	if page.next == "" {
		return nil
	}
	if next, before := l.order[maphash.String(l.seed, page.next)]; before && next <= at || l.empty > maxEmpty {
		return errStuck
	}
	return nil
}

// errForeign means that something other than Cloud Storage answered, or that the answer is not to this request.
var errForeign = &purge.Error{Class: purge.Transient, Text: "what answered was not Cloud Storage"}

// RoundTrip sends the request, and reads the whole answer to a GET.
func (t answerChecker) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(r)
	if err != nil {
		return resp, err
	}
	if r.Method != http.MethodGet || resp.StatusCode/100 != 2 {
		if resp.Body != http.NoBody {
			resp.Body = struct {
				io.Reader
				io.Closer
			}{io.LimitReader(resp.Body, maxOther), resp.Body}
		}
		return resp, nil
	}
	limit := int64(maxPage)
	var pages *listing
	if c, ok := r.Context().Value(callKey{}).(*call); ok && c.pages != nil {
		pages = c.pages
		limit = min(limit, pages.left)
	}
	body := newAnswerBody()
	size, err := body.readFrom(resp.Body, limit+1)
	if closeErr := resp.Body.Close(); err == nil {
		err = closeErr
	}
	if pages != nil {
		pages.left -= min(size, pages.left)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading an answer: %w", err)
	case size > limit && pages != nil:
		bucket, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/storage/v1/b/"), "/")
		return nil, tooMany(bucket, fmt.Sprintf("a listing of more than %d bytes (gcs.max_listing_bytes)", pages.all))
	case size > limit:
		return nil, errForeign
	}
	page, ok := body.shape()
	if resp.StatusCode != http.StatusOK || !ok || page.kind != wantedKind(r) {
		return nil, errForeign
	}
	if pages != nil && page.kind == listingKind {
		if err := pages.addPage(r.URL, page); err != nil {
			return nil, err
		}
	}
	resp.Body = &checkedBody{body}
	return resp, nil
}

// answerBody is the content of an answer that was read whole, with the decoder that checks it. It is a quarter of what
// a listing allocates, so it is used again once the client library has closed the answer's body.
type answerBody struct {
	content, checked bytes.Buffer // checked shares the bytes of content, and is read by the decoder
	limited          io.LimitedReader
	decoder          *jsontext.Decoder
}

var answerBodies = sync.Pool{New: func() any { return &answerBody{decoder: new(jsontext.Decoder)} }}

// maxKept is the size of the largest body that is kept for another answer.
const maxKept = 64 << 10

func newAnswerBody() *answerBody {
	b := answerBodies.Get().(*answerBody) //nolint:errcheck,forcetypeassert // the pool holds nothing else
	b.content.Reset()
	return b
}

// readFrom reads at most limit bytes and returns how many it read.
func (b *answerBody) readFrom(r io.Reader, limit int64) (int64, error) {
	b.limited = io.LimitedReader{R: r, N: limit}
	size, err := b.content.ReadFrom(&b.limited)
	b.limited.R = nil
	return size, err
}

// shape checks the body.
func (b *answerBody) shape() (answer shape, ok bool) {
	b.checked = *bytes.NewBuffer(b.content.Bytes()) // which the decoder reads without a copy, and does not change
	b.decoder.Reset(&b.checked)
	return read(b.decoder)
}

// checkedBody is the body of one answer. After Close it returns nothing, because its buffer may hold another answer by
// then.
type checkedBody struct{ *answerBody }

// Read implements io.Reader.
func (b *checkedBody) Read(p []byte) (int, error) {
	if b.answerBody == nil {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.content.Read(p)
}

// Close implements io.Closer.
func (b *checkedBody) Close() error {
	if b.answerBody != nil && b.content.Cap() <= maxKept {
		answerBodies.Put(b.answerBody)
	}
	b.answerBody = nil
	return nil
}

// errNoAnswer means that an answer could be read in more ways than one, or is none.
var errNoAnswer = errors.New("no answer of Cloud Storage")

// shape is what has to be known of an answer.
type shape struct {
	kind, next string
	items      int
}

// read reports whether an answer is one JSON object that can be read in one way. The client library ignores the letter
// case of members, takes the last of several, looks for no error beside a page, and crashes on an entry that is null:
// an answer in which that matters is none.
func read(d *jsontext.Decoder) (answer shape, ok bool) { // which refuses repeated members, at every depth
	if begin, err := d.ReadToken(); err != nil || begin.Kind() != '{' {
		return answer, false
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil || answer.readMember(d, name.String()) != nil {
			return answer, false
		}
	}
	if _, err := d.ReadToken(); err != nil { // the end of the object
		return answer, false
	}
	_, err := d.ReadToken()
	return answer, errors.Is(err, io.EOF)
}

// readMember reads the value of one member of an answer.
func (a *shape) readMember(d *jsontext.Decoder, name string) error {
	switch name {
	case "kind", "nextPageToken":
		value, err := d.ReadToken()
		if err != nil || value.Kind() != '"' {
			return errNoAnswer
		}
		if name == "kind" {
			a.kind = value.String()
		} else {
			a.next = value.String()
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
			a.items++
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
