package gcstest

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"time"
)

// patch is what the body of a PATCH names. A member that is null is one that is taken away.
type patch map[string]json.RawMessage

// maxPatch is far above the largest body of a change.
const maxPatch = 1 << 20

func readPatch(r *http.Request) (p patch, bad *Error) {
	if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxPatch)).Decode(&p); err != nil {
		return nil, errInvalid("Parse Error")
	}
	return p, nil
}

// member reads a member into target, and takes it out of the patch. A null is the zero value.
func member[T any](p patch, key string, target *T, bad **Error) {
	text, ok := p[key]
	if !ok {
		return
	}
	delete(p, key)
	var value T
	if err := json.Unmarshal(text, &value); err != nil && *bad == nil {
		*bad = errInvalid("Invalid value for " + key + ".")
	}
	*target = value
}

// rest refuses what is left of a patch: to ignore it would be a wrong answer.
func (p patch) rest(bad **Error) {
	for _, known := range []string{"kind", "id", "name", "bucket"} {
		delete(p, known)
	}
	if keys := slices.Sorted(maps.Keys(p)); len(keys) > 0 && *bad == nil {
		*bad = errNotEmulated("a change of " + keys[0])
	}
}

// patchObject handles PATCH /b/BUCKET/o/OBJECT.
func (s *Server) patchObject(c *call, r *http.Request, b *bucket, denied map[string]bool) reply {
	if denied[permUpdate] {
		return c.refusal(errDenied(permUpdate, "object"))
	}
	p, bad := readPatch(r)
	generation, required := c.number("generation", &bad), c.conditions(&bad)
	if bad != nil {
		return c.refusal(bad)
	}
	changed, refused := b.patch(at(s.now()), c, generation, required, p)
	if refused != nil {
		return c.refusal(refused)
	}
	return jsonReply(appendObject(nil, c.bucket, &changed, parseSelection(c.query.Get("fields"))))
}

// patch changes the metadata of a generation, which holds and retention do not forbid: all of it, or nothing.
func (b *bucket) patch(now stamp, c *call, generation int64, required conditions, p patch) (changed view, bad *Error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	vs, _ := b.stored.Get(c.name)
	v := vs.pick(generation)
	switch {
	case v == nil:
		return changed, errNoObject(c.bucket, c.name)
	case !required.hold(v):
		return changed, errCondition()
	}
	next := *v
	if next.apply(p, &bad); bad != nil {
		return changed, bad
	}
	shorter := next.retainUntil < v.retainUntil || next.unlocked && !v.unlocked && v.retainUntil != 0
	if shorter && (!v.unlocked || !c.flag("overrideUnlockedRetention")) {
		return changed, errLocked(c.bucket, c.name)
	}
	if v.eventBasedHold && !next.eventBasedHold {
		next.eventReleased = now
	}
	next.metageneration++
	next.updated = now
	*v = next
	return b.view(c.name, v), nil
}

// apply makes the changes.
func (v *version) apply(p patch, bad **Error) {
	member(p, "contentType", &v.contentType, bad)
	member(p, "cacheControl", &v.cacheControl, bad)
	member(p, "temporaryHold", &v.temporaryHold, bad)
	member(p, "eventBasedHold", &v.eventBasedHold, bad)
	if _, ok := p["retention"]; ok {
		var retention struct {
			Mode            string
			RetainUntilTime time.Time
		}
		member(p, "retention", &retention, bad)
		v.retainUntil, v.unlocked = at(retention.RetainUntilTime), retention.Mode == "Unlocked"
	}
	if _, ok := p["metadata"]; ok {
		var metadata map[string]*string // A key that is null is taken away, and so are all if the map is.
		member(p, "metadata", &metadata, bad)
		kept := maps.Clone(v.metadata)
		if kept == nil || metadata == nil {
			kept = map[string]string{}
		}
		for key, value := range metadata {
			if delete(kept, key); value != nil {
				kept[key] = *value
			}
		}
		v.metadata = kept
	}
	p.rest(bad)
}

// The service's bounds of a soft delete policy, and the policy that a bucket has for which none was chosen.
const (
	minSoftDelete     = 7 * 24 * time.Hour
	maxSoftDelete     = 90 * 24 * time.Hour
	defaultSoftDelete = minSoftDelete
)

// patchBucket handles PATCH /b/BUCKET.
func (s *Server) patchBucket(c *call, r *http.Request, b *bucket, denied map[string]bool) reply {
	if denied[permBucketUpdate] {
		return c.refusal(errDenied(permBucketUpdate, "bucket"))
	}
	p, bad := readPatch(r)
	required := c.conditions(&bad)
	if bad != nil {
		return c.refusal(bad)
	}
	if refused := b.patchSettings(at(s.now()), required, p); refused != nil {
		return c.refusal(refused)
	}
	return marshalReply(b.resource(c.bucket))
}

func (b *bucket) patchSettings(now stamp, required conditions, p patch) (bad *Error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !required.hold(&version{metageneration: b.metageneration}) {
		return errCondition()
	}
	cfg := b.cfg
	if cfg.apply(p, &bad); bad == nil {
		b.configure(now, cfg)
	}
	return bad
}

// apply makes the changes.
func (cfg *BucketConfig) apply(p patch, bad **Error) {
	member(p, "defaultEventBasedHold", &cfg.DefaultEventBasedHold, bad)
	if _, ok := p["versioning"]; ok {
		var versioning struct{ Enabled bool }
		member(p, "versioning", &versioning, bad)
		cfg.Versioning = versioning.Enabled
	}
	if _, ok := p["billing"]; ok {
		var billing struct{ RequesterPays bool }
		member(p, "billing", &billing, bad)
		cfg.RequesterPays = billing.RequesterPays
	}
	if _, ok := p["retentionPolicy"]; ok {
		var retention struct {
			RetentionPeriod int64 `json:",string"`
		}
		member(p, "retentionPolicy", &retention, bad)
		cfg.Retention = time.Duration(retention.RetentionPeriod) * time.Second
	}
	if text, ok := p["softDeletePolicy"]; ok {
		var policy struct {
			RetentionDurationSeconds int64 `json:",string"`
		}
		member(p, "softDeletePolicy", &policy, bad)
		cfg.SoftDelete = time.Duration(policy.RetentionDurationSeconds) * time.Second
		if string(text) == "null" { // It does not switch soft delete off (measured 2026-09-30).
			cfg.SoftDelete = defaultSoftDelete
		}
		if cfg.SoftDelete != 0 && (cfg.SoftDelete < minSoftDelete || cfg.SoftDelete > maxSoftDelete) && *bad == nil {
			*bad = errInvalid("The soft delete retention duration must be 0, or from 7 to 90 days.")
		}
	}
	p.rest(bad)
}
