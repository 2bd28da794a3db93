package gcstest

// erasure is a delete request.
type erasure struct {
	bucket, name string
	generation   int64 // Negative: the live one.
	conditions   conditions
	token        string // x-goog-gcs-idempotency-token, or empty.
}

// outcome is what a delete that succeeded did.
type outcome int

const (
	erased   outcome = iota // The generation left the listings: gone, or soft-deleted.
	archived                // The live object became noncurrent; its bytes stay readable.
	replayed                // Nothing now: an earlier request with the same token did the work.
)

// erase deletes. The order of its checks is the service's: a replay first, then existence, conditions, holds,
// retention.
func (b *bucket) erase(now stamp, e erasure) (outcome, *Error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.replays.answers(now, e) {
		return replayed, nil
	}
	vs, _ := b.stored.Get(e.name)
	v := vs.pick(e.generation)
	if v == nil {
		return 0, errNoObject(e.bucket, e.name)
	}
	if !e.conditions.hold(v) {
		return 0, errCondition()
	}
	// A condition does not make a delete permanent; only generation= does.
	archiving := e.generation < 0 && b.cfg.Versioning
	if refused := b.refuse(now, e.bucket, e.name, v, archiving); refused != nil {
		return 0, refused
	}
	b.replays.remember(now, e)
	if archiving {
		v.noncurrent = now
		return archived, nil
	}
	b.drop(now, e.name, vs, v)
	return erased, nil
}

// replays remembers deletes that succeeded by their token. Refusals are not remembered, as nothing was committed that a
// second attempt could meet. Two generations of maps bound the memory without a sweep: an entry is forgotten after one
// to two windows, and its own time decides whether it still counts.
type replays struct {
	turned     stamp
	young, old map[string]replay
}

type replay struct {
	name       string
	generation int64
	conditions conditions
	at         stamp
}

// answers reports whether the token was used for the same delete within the window.
func (r *replays) answers(now stamp, e erasure) bool {
	if e.token == "" {
		return false
	}
	seen, ok := r.young[e.token]
	if !ok {
		seen, ok = r.old[e.token]
	}
	return ok && now < seen.at+replayWindow &&
		seen.name == e.name && seen.generation == e.generation && seen.conditions == e.conditions
}

func (r *replays) remember(now stamp, e erasure) {
	if e.token == "" {
		return
	}
	if r.young == nil || now >= r.turned+replayWindow {
		r.old, r.young, r.turned = r.young, map[string]replay{}, now
	}
	r.young[e.token] = replay{name: e.name, generation: e.generation, conditions: e.conditions, at: now}
}
