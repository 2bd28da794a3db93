package purgetest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// Bucket is the name of the one bucket of a Cloud.
const Bucket = "certs"

// Op is a call of purge.Objects.
type Op string

// The calls that can be made to fail.
const (
	OpList   Op = "list"
	OpDelete Op = "delete"
)

// Trouble is something that can happen to a call instead of its ordinary answer.
type Trouble string

// What the situation table of Cloud Storage knows. Each store under test has its own way to make it happen.
const (
	NoPermission     Trouble = "403 forbidden"
	AccountDisabled  Trouble = "403 account disabled"
	RequesterPays    Trouble = "400 requester pays"
	Stale            Trouble = "412 condition not met"
	TooManyRequests  Trouble = "429 rate limit"
	OldQuota         Trouble = "403 rate limit"
	ServerError500   Trouble = "500"
	ServerError501   Trouble = "501"
	ServerError502   Trouble = "502"
	ServerError503   Trouble = "503"
	ServerError504   Trouble = "504"
	RequestTimeout   Trouble = "408"
	BadToken         Trouble = "401 bad token"
	NoToken          Trouble = "token fetch fails"
	Reset            Trouble = "connection reset"
	LostAnswer       Trouble = "done, answer lost"
	NoSuchHost       Trouble = "DNS NXDOMAIN"
	UntrustedTLS     Trouble = "TLS failure"
	Hanging          Trouble = "deadline in flight"
	HangingInBackoff Trouble = "deadline in backoff"
	ProxyHTML403     Trouble = "proxy HTML 403"
	ProxyHTML404     Trouble = "proxy HTML 404"
	ProxyEmpty404    Trouble = "proxy empty 404"
	ProxyHTML200     Trouble = "proxy HTML 200"
	ProxyEmpty204    Trouble = "proxy empty 204"
	ProxyJSON200     Trouble = "proxy JSON 200"
	ProxyWrapped200  Trouble = "proxy JSON 200 with a listing inside"
	Proxy202         Trouble = "proxy 202"
	Proxy302         Trouble = "proxy 302"
)

// World is a store of objects under test, with back doors that the store itself does not have.
type World interface {
	Objects() purge.Objects
	Put(name string)                         // a new live generation
	Versioning(on bool)                      // of the bucket
	SoftDelete(d time.Duration)              // 0 switches it off
	Retention(d time.Duration)               // the bucket's policy
	Hold(name string, temporary, event bool) // both false releases
	Lock(name string, until time.Time)       // object retention
	DropBucket()
	Remove(name string) // takes every generation away as another program would
	// "name#live" or "name#noncurrent" of everything that is not soft-deleted, sorted
	Stored() []string
	Trouble(op Op, what Trouble, times int) // times < 0: always
	Fix()                                   // no trouble any more
	Before(op Op, once func())              // runs before the next such call does its work
	Advance(d time.Duration)                // moves the store's clock
	Now() time.Time
}

// Cloud is the fake store: one bucket in memory.
type Cloud struct {
	AcceptSoftDelete bool

	mu         sync.Mutex
	missing    bool
	versioning bool
	softDelete time.Duration
	retention  time.Duration
	objects    []*object
	next       int64
	offset     time.Duration
	troubles   map[Op][]*trouble
	before     map[Op]func()
}

type object struct {
	name    string
	number  int64
	live    bool
	held    bool
	until   time.Time
	deleted time.Time // soft-deleted until
}

type trouble struct {
	what  Trouble
	times int
}

// NewCloud makes an empty bucket.
func NewCloud() *Cloud {
	return &Cloud{troubles: map[Op][]*trouble{}, before: map[Op]func(){}}
}

// Objects returns the cloud itself.
func (c *Cloud) Objects() purge.Objects { return c }

// List implements purge.Objects.
func (c *Cloud) List(ctx context.Context, dir purge.Directory) ([]purge.Generation, error) {
	c.run(OpList)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.enter(ctx, OpList); err != nil {
		return nil, err
	}
	var found []purge.Generation
	for _, o := range c.objects {
		if o.deleted.IsZero() && strings.HasPrefix(o.name, dir.Prefix) {
			g := purge.Generation{Directory: dir, Name: o.name, Number: o.number, Size: 1, Held: o.held}
			if o.until.After(c.now()) {
				g.RetainedUntil = o.until
			}
			found = append(found, g)
		}
	}
	return found, nil
}

// Delete implements purge.Objects.
func (c *Cloud) Delete(ctx context.Context, g purge.Generation) error {
	c.run(OpDelete)
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.enter(ctx, OpDelete)
	if e, ok := err.(*purge.Error); ok && e.Cause == errDone { //nolint:errorlint // our own, never wrapped
		c.remove(g)
		return nil // the store's own second try met a 404
	}
	if err == errBelieved { //nolint:errorlint // our own, never wrapped
		return nil // a proxy said so
	}
	if err != nil {
		return err
	}
	c.remove(g)
	return nil
}

func (c *Cloud) remove(g purge.Generation) {
	c.objects = slices.DeleteFunc(c.objects, func(o *object) bool {
		if o.name != g.Name || o.number != g.Number || o.held || o.until.After(c.now()) {
			return false
		}
		if c.softDelete > 0 {
			o.deleted = c.now().Add(c.softDelete)
			return false
		}
		return true
	})
}

// SoftDeleted implements purge.Objects.
func (c *Cloud) SoftDeleted(
	_ context.Context, dir purge.Directory, _ time.Time,
) ([]purge.SoftDeletedObject, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []purge.SoftDeletedObject
	for _, o := range c.objects {
		if o.deleted.After(c.now()) && c.softDelete > 0 && strings.HasPrefix(o.name, dir.Prefix) {
			found = append(found, purge.SoftDeletedObject{Name: o.name, Number: o.number, Size: 1, Until: o.deleted})
		}
	}
	return found, nil
}

func (c *Cloud) run(op Op) {
	c.mu.Lock()
	hook := c.before[op]
	delete(c.before, op)
	c.mu.Unlock()
	if hook != nil {
		hook()
	}
}

// enter is what every call meets first: an ended context, trouble, a missing bucket, settings that are not accepted.
func (c *Cloud) enter(ctx context.Context, op Op) error {
	if ctx.Err() != nil {
		return &purge.Error{Class: purge.Transient, Text: "no answer in time", Cause: ctx.Err()}
	}
	for _, t := range c.troubles[op] {
		if t.times != 0 {
			t.times--
			return troubleError(op, t.what)
		}
	}
	if op == OpDelete {
		return nil // a missing bucket looks like a missing object here
	}
	if c.missing {
		return &purge.Error{Class: purge.Misconfigured, Text: "there is no such bucket"}
	}
	if c.softDelete > 0 && !c.AcceptSoftDelete {
		return &purge.Error{Class: purge.Misconfigured, Text: "the bucket has soft delete"}
	}
	return nil
}

// Put implements World.
func (c *Cloud) Put(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range c.objects {
		if o.name == name && o.live {
			o.live = false
			if !c.versioning {
				o.deleted = c.now()
			}
		}
	}
	c.next++
	o := &object{name: name, number: c.next, live: true}
	if c.retention > 0 {
		o.until = c.now().Add(c.retention)
	}
	c.objects = append(c.objects, o)
}

// Versioning implements World.
func (c *Cloud) Versioning(on bool) { c.mu.Lock(); c.versioning = on; c.mu.Unlock() }

// SoftDelete implements World.
func (c *Cloud) SoftDelete(d time.Duration) { c.mu.Lock(); c.softDelete = d; c.mu.Unlock() }

// Retention implements World.
func (c *Cloud) Retention(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retention = d
	for _, o := range c.objects {
		o.until = c.now().Add(d)
	}
}

// Hold implements World.
func (c *Cloud) Hold(name string, temporary, event bool) {
	c.each(name, func(o *object) { o.held = temporary || event })
}

// Lock implements World.
func (c *Cloud) Lock(name string, until time.Time) { c.each(name, func(o *object) { o.until = until }) }

func (c *Cloud) each(name string, do func(*object)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range c.objects {
		if o.name == name && o.live {
			do(o)
		}
	}
}

// Remove implements World.
func (c *Cloud) Remove(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.objects = slices.DeleteFunc(c.objects, func(o *object) bool { return o.name == name })
}

// DropBucket implements World.
func (c *Cloud) DropBucket() { c.mu.Lock(); c.missing, c.objects = true, nil; c.mu.Unlock() }

// Stored implements World.
func (c *Cloud) Stored() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for _, o := range c.objects {
		if o.deleted.IsZero() {
			names = append(names, Stored(o.name, o.live))
		}
	}
	slices.Sort(names)
	return names
}

// Stored is how World.Stored names a generation.
func Stored(name string, live bool) string {
	if live {
		return name + "#live"
	}
	return name + "#noncurrent"
}

// Trouble implements World.
func (c *Cloud) Trouble(op Op, what Trouble, times int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.troubles[op] = append(c.troubles[op], &trouble{what, times})
}

// Fix implements World.
func (c *Cloud) Fix() { c.mu.Lock(); c.troubles = map[Op][]*trouble{}; c.mu.Unlock() }

// Before implements World.
func (c *Cloud) Before(op Op, once func()) { c.mu.Lock(); c.before[op] = once; c.mu.Unlock() }

// Advance implements World.
func (c *Cloud) Advance(d time.Duration) { c.mu.Lock(); c.offset += d; c.mu.Unlock() }

// Now implements World.
func (c *Cloud) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now() }

func (c *Cloud) now() time.Time { return time.Now().Add(c.offset) }
