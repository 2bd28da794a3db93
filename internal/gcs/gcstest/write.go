package gcstest

// conditions are a request's preconditions. A negative number is one that was not given.
type conditions struct {
	generation, notGeneration         int64
	metageneration, notMetageneration int64
}

// hold reports whether the conditions hold for a generation; nil stands for no object, whose generation is 0.
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

// put stores a new live generation. What it replaces becomes noncurrent in a versioned bucket and is deleted in
// another.
func (b *bucket) put(now stamp, bucketName, name string, data []byte, o ObjectOptions) (generation int64, _ *Error) {
	v := &version{
		metageneration: 1,
		data:           data,
		contentType:    o.ContentType,
		cacheControl:   o.CacheControl,
		temporaryHold:  o.TemporaryHold,
		eventBasedHold: o.EventBasedHold,
		created:        now,
		updated:        now,
		retainUntil:    at(o.RetainUntil),
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	v.eventBasedHold = v.eventBasedHold || b.cfg.DefaultEventBasedHold
	vs, known := b.stored.Get(name)
	old := vs.live()
	if old != nil {
		if refused := b.refuse(now, bucketName, name, old, b.cfg.Versioning); refused != nil {
			return 0, refused
		}
		if b.cfg.Versioning {
			old.noncurrent = now
		} else {
			b.drop(now, name, vs, old)
			known = len(vs.all) > 0 // Dropping the last generation takes the name out of the tree.
		}
	}
	if !known {
		vs = &versions{}
		b.stored.Set(name, vs)
	}
	if b.cfg.Hierarchical {
		for i, c := range []byte(name) {
			if c == '/' {
				b.makeFolder(folderKind, name[:i+1], now)
			}
		}
	}
	v.generation = b.nextGeneration(now)
	vs.all = append(vs.all, v)
	return v.generation, nil
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
