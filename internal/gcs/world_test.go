package gcs_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/storage"
	"google.golang.org/api/option"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/gcs"
	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
)

// world is the adapter over the emulator.
type world struct {
	*gcs.Store
	t      *testing.T
	server *gcstest.Server
	admin  *storage.BucketHandle // the client of another program, which changes settings and objects

	mu     sync.Mutex
	offset time.Duration
	before map[purgetest.Op]func()
	hooks  sync.Mutex             // held while one of them runs
	faked  map[purgetest.Op]*fake // what the emulator cannot do, because it would not come from a server
}

type fake struct {
	what  purgetest.Trouble
	times int
}

func newWorld(t *testing.T, change ...func(*gcs.Config)) *world {
	t.Helper()
	return newWorldOn(t, nil, change...)
}

func newWorldOn(t *testing.T, how []gcstest.Option, change ...func(*gcs.Config)) *world {
	t.Helper()
	w := &world{t: t, before: map[purgetest.Op]func(){}, faked: map[purgetest.Op]*fake{}}
	w.server = gcstest.New(append(how, gcstest.WithClock(w.Now))...)
	w.server.CreateBucket(purgetest.Bucket, gcstest.BucketConfig{})
	cfg := gcs.Config{
		GCS: config.GCS{
			CallTimeout: time.Minute, MaxTries: 2, MaxInFlight: 32, AttributesMaxAge: time.Hour, Anonymous: true,
		},
		Locations: purgetest.OneLocation(t),
		Now:       w.Now,
	}
	if strings.Contains(t.Name(), "deadline") { // in a bubble, whose clock stands still while the network is waited for
		cfg.CallTimeout, cfg.Transport = 30*time.Second, interceptor{w, inMemory{w.server}}
		w.admin = newAdmin(t, inMemory{w.server})
	} else {
		base, stop, err := w.server.Start()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		network := &http.Transport{MaxIdleConnsPerHost: 32}
		t.Cleanup(network.CloseIdleConnections)
		cfg.Endpoint, cfg.Transport = base, interceptor{w, network}
		w.admin = newAdmin(t, network, option.WithEndpoint(base))
	}
	for _, c := range change {
		c(&cfg)
	}
	var err error
	w.Store, err = gcs.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return w
}

func newAdmin(t *testing.T, transport http.RoundTripper, opts ...option.ClientOption) *storage.BucketHandle {
	t.Helper()
	client, err := storage.NewClient(t.Context(), append(opts, option.WithHTTPClient(&http.Client{Transport: transport}))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() }) // nothing to lose
	return client.Bucket(purgetest.Bucket)
}

// hook runs what a test wants to happen before the next request of a kind. The other requests wait for it, so that none
// of them is ahead of it.
func (w *world) hook(op purgetest.Op) {
	w.hooks.Lock()
	defer w.hooks.Unlock()
	w.mu.Lock()
	once := w.before[op]
	delete(w.before, op)
	w.mu.Unlock()
	if once != nil {
		once()
	}
}

// interceptor stands where the network is.
type interceptor struct {
	w    *world
	next http.RoundTripper
}

func (i interceptor) RoundTrip(r *http.Request) (*http.Response, error) {
	op := purgetest.OpDelete
	if r.Method == http.MethodGet {
		op = purgetest.OpList
	}
	if op == purgetest.OpList && !strings.HasSuffix(r.URL.Path, "/o") {
		return i.next.RoundTrip(r) // settings of the bucket
	}
	switch what := i.w.fakedNow(op); what {
	case "":
		i.w.hook(op)
		return i.next.RoundTrip(r)
	case purgetest.NoToken:
		return nil, &auth.Error{Response: answer(r, http.StatusBadRequest, "", "")}
	case purgetest.NoSuchHost:
		return nil, &net.OpError{
			Op: "dial", Net: "tcp",
			Err: &net.DNSError{Err: "no such host", Name: "storage.example.org", IsNotFound: true},
		}
	case purgetest.UntrustedTLS:
		return nil, &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
	case purgetest.ProxyEmpty204:
		return answer(r, http.StatusNoContent, "", ""), nil
	case purgetest.ProxyHTML403:
		return answer(r, http.StatusForbidden, "text/html", "<html>blocked: "+r.URL.Path+"</html>"), nil
	case purgetest.ProxyWrapped200:
		return answer(r, http.StatusOK, "application/json", `{"data":{"kind":"storage#objects","items":[]}}`), nil
	case purgetest.ProxyJSON200:
		return answer(r, http.StatusOK, "application/json", `{"status":"ok"}`), nil
	default:
		return nil, &net.AddrError{Err: "no such trouble", Addr: string(what)}
	}
}

func answer(r *http.Request, status int, contentType, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r, ContentLength: int64(len(body)),
		Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(bytes.NewReader([]byte(body))),
	}
}

func (w *world) fakedNow(op purgetest.Op) purgetest.Trouble {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.faked[op]
	if f == nil || f.times == 0 {
		return ""
	}
	f.times--
	return f.what
}

// faults are the troubles that come from the server or the wire.
var faults = map[purgetest.Trouble]gcstest.Fault{
	purgetest.NoPermission:    {Status: http.StatusForbidden},
	purgetest.AccountDisabled: {Status: http.StatusForbidden, Reason: "accountDisabled"},
	purgetest.RequesterPays: {
		Status: http.StatusBadRequest, Reason: "required", Message: "Bucket is a requester pays bucket but no user " +
			"project provided.",
	},
	purgetest.Stale:            {Status: http.StatusPreconditionFailed},
	purgetest.TooManyRequests:  {Status: http.StatusTooManyRequests},
	purgetest.OldQuota:         {Status: http.StatusForbidden, Reason: "rateLimitExceeded"},
	purgetest.ServerError500:   {Status: http.StatusInternalServerError},
	purgetest.ServerError501:   {Status: http.StatusNotImplemented},
	purgetest.ServerError502:   {Status: http.StatusBadGateway},
	purgetest.ServerError503:   {Status: http.StatusServiceUnavailable},
	purgetest.ServerError504:   {Status: http.StatusGatewayTimeout},
	purgetest.RequestTimeout:   {Status: http.StatusRequestTimeout},
	purgetest.BadToken:         {Status: http.StatusUnauthorized},
	purgetest.Reset:            {Reset: true},
	purgetest.LostAnswer:       {Reset: true, AfterWork: true},
	purgetest.Hanging:          {Latency: time.Minute},
	purgetest.HangingInBackoff: {Status: http.StatusServiceUnavailable, Latency: 50 * time.Millisecond},
	purgetest.ProxyHTML404:     {Proxy: gcstest.ProxyNotFoundHTML},
	purgetest.ProxyEmpty404:    {Proxy: gcstest.ProxyNotFoundEmpty},
	purgetest.ProxyHTML200:     {Proxy: gcstest.ProxyOKHTML},
	purgetest.Proxy202:         {Proxy: gcstest.ProxyAccepted},
	purgetest.Proxy302:         {Proxy: gcstest.ProxyRedirect},
}

func (w *world) Objects() purge.Objects { return w.Store }

func (w *world) Put(name string) {
	w.check(func() error {
		_, err := w.server.Put(purgetest.Bucket, name, []byte("content"), gcstest.ObjectOptions{})
		return err
	}())
}

// change changes the bucket as an operator does, with a PATCH.
func (w *world) change(u storage.BucketAttrsToUpdate) {
	_, err := w.admin.Update(w.t.Context(), u)
	w.check(err)
}

// changeObject does the same with an object.
func (w *world) changeObject(name string, u storage.ObjectAttrsToUpdate) {
	_, err := w.admin.Object(name).Update(w.t.Context(), u)
	w.check(err)
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Errorf("arranging: %v", err)
	}
}

func (w *world) Versioning(on bool) { w.change(storage.BucketAttrsToUpdate{VersioningEnabled: on}) }

func (w *world) SoftDelete(d time.Duration) {
	w.change(storage.BucketAttrsToUpdate{SoftDeletePolicy: &storage.SoftDeletePolicy{RetentionDuration: d}})
}

func (w *world) Retention(d time.Duration) {
	w.change(storage.BucketAttrsToUpdate{RetentionPolicy: &storage.RetentionPolicy{RetentionPeriod: d}})
}

func (w *world) Hold(name string, temporary, event bool) {
	if slices.Contains(w.Stored(), purgetest.Stored(name, true)) {
		w.changeObject(name, storage.ObjectAttrsToUpdate{TemporaryHold: temporary, EventBasedHold: event})
	}
}

func (w *world) Lock(name string, until time.Time) {
	w.changeObject(name, storage.ObjectAttrsToUpdate{Retention: &storage.ObjectRetention{Mode: "Locked", RetainUntil: until}})
}
func (w *world) DropBucket() { w.server.DeleteBucket(purgetest.Bucket) }

// Remove deletes as another program would, with the bucket's soft delete switched off for a moment.
func (w *world) Remove(name string) {
	base, stop, err := w.server.Start()
	if err != nil {
		w.t.Fatal(err)
	}
	defer stop()
	for _, o := range w.server.Objects(purgetest.Bucket, name) {
		if o.Name != name {
			continue
		}
		url := base + "b/" + purgetest.Bucket + "/o/" + strings.ReplaceAll(name, "/", "%2F")
		r, err := http.NewRequestWithContext(w.t.Context(), http.MethodDelete, url, http.NoBody)
		if err != nil {
			w.t.Fatal(err)
		}
		transport := &http.Transport{DisableKeepAlives: true}
		resp, err := transport.RoundTrip(r)
		if err != nil {
			w.t.Fatal(err)
		}
		w.check(resp.Body.Close())
	}
}

func (w *world) Stored() []string {
	var names []string
	for _, o := range w.server.Objects(purgetest.Bucket, "") {
		if o.SoftDeletedUntil.IsZero() {
			names = append(names, purgetest.Stored(o.Name, o.Live))
		}
	}
	slices.Sort(names)
	return names
}

func (w *world) Trouble(op purgetest.Op, what purgetest.Trouble, times int) {
	fault, ok := faults[what]
	if !ok {
		w.mu.Lock()
		w.faked[op] = &fake{what, times}
		w.mu.Unlock()
		return
	}
	fault.Op = map[purgetest.Op]string{purgetest.OpList: gcstest.OpList, purgetest.OpDelete: gcstest.OpDelete}[op]
	fault.Count = max(times, 0)
	w.server.AddFault(fault)
}

func (w *world) Fix() {
	w.server.SetFaults(0)
	w.mu.Lock()
	w.faked = map[purgetest.Op]*fake{}
	w.mu.Unlock()
}

func (w *world) Before(op purgetest.Op, once func()) {
	w.mu.Lock()
	w.before[op] = once
	w.mu.Unlock()
}

func (w *world) Advance(d time.Duration) { w.mu.Lock(); w.offset += d; w.mu.Unlock() }

func (w *world) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.offset)
}
