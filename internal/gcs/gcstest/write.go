package gcstest

import (
	"crypto/md5" //nolint:gosec // The service publishes the MD5 of an object; nothing is protected by it here.
	"hash/crc32"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// conditions are a request's preconditions. A negative number is one that was not given.
type conditions struct {
	generation, notGeneration         int64
	metageneration, notMetageneration int64
}

// unconditional is a request without preconditions.
var unconditional = conditions{-1, -1, -1, -1}

// hold tells whether the conditions hold for a generation; nil stands for no object, whose generation is 0.
func (c conditions) hold(v *version) bool {
	var generation, metageneration int64
	if v != nil {
		generation, metageneration = v.generation, v.metageneration
	}
	return (c.generation < 0 || c.generation == generation) &&
		(c.notGeneration < 0 || c.notGeneration != generation) &&
		(c.metageneration < 0 || c.metageneration == metageneration) &&
		(c.notMetageneration < 0 || c.notMetageneration != metageneration)
}

// upload is a new object on its way in.
type upload struct {
	bucket, name string
	data         []byte
	options      ObjectOptions
	conditions   conditions
	mayOverwrite bool // Overwriting needs storage.objects.delete as well.
}

// put stores a new live generation. What it replaces becomes noncurrent in a versioned bucket and is deleted in
// another.
func (b *bucket) put(now stamp, u upload) (view, *Error) {
	v := &version{
		metageneration: 1,
		data:           u.data,
		contentType:    u.options.ContentType,
		cacheControl:   u.options.CacheControl,
		md5:            md5.Sum(u.data), //nolint:gosec // See the import.
		crc32c:         crc32.Checksum(u.data, castagnoli),
		temporaryHold:  u.options.TemporaryHold,
		eventBasedHold: u.options.EventBasedHold,
		created:        now,
		updated:        now,
		retainUntil:    at(u.options.RetainUntil),
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	vs, known := b.stored.Get(u.name)
	old := vs.live()
	if !u.conditions.hold(old) {
		return view{}, errCondition()
	}
	if old != nil {
		if !u.mayOverwrite {
			return view{}, errDenied(permDelete, "object")
		}
		if refused := b.refuse(now, u.bucket, u.name, old, b.cfg.Versioning); refused != nil {
			return view{}, refused
		}
		if b.cfg.Versioning {
			old.noncurrent = now
		} else {
			b.drop(now, u.name, vs, old)
			known = len(vs.all) > 0 // Dropping the last generation takes the name out of the tree.
		}
	}
	if !known {
		vs = &versions{}
		b.stored.Set(u.name, vs)
	}
	v.generation = b.nextGeneration(now)
	vs.all = append(vs.all, v)
	return b.view(u.name, v), nil
}

// amend changes the metadata of a generation, of the live one when generation is negative, which holds and retention
// never forbid. It reports false if there is none.
func (b *bucket) amend(now stamp, name string, generation int64, change func(*version)) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	vs, _ := b.stored.Get(name)
	v := vs.pick(generation)
	if v == nil {
		return false
	}
	change(v)
	v.metageneration++
	v.updated = now
	return true
}
