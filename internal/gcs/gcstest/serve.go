package gcstest

import "net/http"

// The permissions the operations need.
const (
	permBucketGet = "storage.buckets.get"
	permList      = "storage.objects.list"
	permGet       = "storage.objects.get"
	permDelete    = "storage.objects.delete"
	permUpdate    = "storage.objects.update"

	permBucketUpdate = "storage.buckets.update"

	permPolicy       = "storage.objects.getIamPolicy"
	permBucketPolicy = "storage.buckets.getIamPolicy"
)

// ServeHTTP answers one request: it calls the hook, draws the faults, does the work and writes the answer, in this
// order. No lock is held while it waits or writes. A batch is so many requests.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == batchPath {
		s.serveBatch(w, r)
		return
	}
	if !s.serve(w, r) {
		abort(w)
	}
}

// serve is ServeHTTP for one call. It reports false if the connection is to end without an answer.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) bool {
	s.stats.enter()
	defer s.stats.leave()
	c := understand(r)
	s.stats.count(c.op)
	if hook := s.hook.Load(); hook != nil {
		(*hook)(c.op, c.bucket, c.name)
	}
	verdict := s.draw(&c)
	if !wait(r.Context(), verdict.before) {
		return false
	}
	answer := verdict.answer
	if answer == nil || verdict.afterWork {
		done := s.do(&c, r)
		if answer == nil {
			answer = &done
		}
	}
	if !wait(r.Context(), verdict.after) || answer.reset {
		return false
	}
	answer.write(w, r)
	return true
}

// do does the work of a request.
func (s *Server) do(c *call, r *http.Request) reply {
	if c.op == OpOther {
		if r.URL.Path == portalPath {
			return htmlReply(http.StatusOK, "<html><body>Sign in to use this network.</body></html>")
		}
		return c.refusal(errNotEmulated(r.Method + " " + r.URL.EscapedPath()))
	}
	b, denied, missing := s.lookup(c.bucket)
	if missing != nil {
		return c.refusal(missing)
	}
	cfg := b.settings()
	if cfg.RequesterPays && c.query.Get("userProject") == "" && r.Header.Get("X-Goog-User-Project") == "" {
		return c.refusal(errRequesterPays())
	}
	if refused := c.projection(denied); refused != nil {
		return c.refusal(refused)
	}
	switch c.op {
	case OpPatch:
		return s.patchObject(c, r, b, denied)
	case OpBucketPatch:
		return s.patchBucket(c, r, b, denied)
	case OpFolders:
		return s.doFolders(c, r, b, denied)
	case OpBucketGet:
		return s.getBucket(c, b, denied)
	case OpTestPermissions:
		return testPermissions(c, denied)
	case OpList:
		return s.list(c, b, denied)
	case OpGet:
		return s.get(c, b, denied)
	default:
		return s.delete(c, r, b, denied)
	}
}

// projection refuses projection=full, which is the answer with its access control lists, to a caller who may not read
// these.
func (c *call) projection(denied map[string]bool) *Error {
	permission, resource := permPolicy, "object"
	switch c.op {
	case OpBucketGet, OpBucketPatch:
		permission, resource = permBucketPolicy, "bucket"
	case OpList:
		resource = "bucket"
	}
	if c.query.Get("projection") != "full" || !denied[permission] {
		return nil
	}
	return errDenied(permission, resource)
}

// delete handles DELETE /b/BUCKET/o/OBJECT.
func (s *Server) delete(c *call, r *http.Request, b *bucket, denied map[string]bool) reply {
	if denied[permDelete] {
		return c.refusal(errDenied(permDelete, "object"))
	}
	var bad *Error
	e := erasure{
		bucket: c.bucket, name: c.name, generation: c.number("generation", &bad), conditions: c.conditions(&bad),
		token: r.Header.Get("x-goog-gcs-idempotency-token"),
	}
	if bad != nil {
		return c.refusal(bad)
	}
	done, refused := b.erase(at(s.now()), e)
	if refused != nil {
		return c.refusal(refused)
	}
	s.stats.deleted(done)
	return reply{status: http.StatusNoContent}
}

// get handles GET /b/BUCKET/o/OBJECT, with and without alt=media.
func (s *Server) get(c *call, b *bucket, denied map[string]bool) reply {
	if denied[permGet] {
		return c.refusal(errDenied(permGet, "object"))
	}
	var bad *Error
	generation, required, softDeleted := c.number("generation", &bad), c.conditions(&bad), c.flag("softDeleted")
	switch {
	case bad != nil:
		return c.refusal(bad)
	case softDeleted && b.settings().SoftDelete <= 0:
		return c.refusal(errSoftDeleteOff("request a soft-deleted version"))
	case softDeleted && generation < 0:
		return c.refusal(errInvalid("A generation must be specified to get a soft-deleted object."))
	case softDeleted && c.media:
		return c.refusal(errInvalid("The content of a soft-deleted object cannot be read."))
	}
	found, ok := b.read(at(s.now()), c.name, generation, softDeleted)
	switch {
	case !ok:
		return c.refusal(errNoObject(c.bucket, c.name))
	case !required.hold(&found.version):
		// Only the negative conditions fail: what the client has is still right.
		required.notGeneration, required.notMetageneration = -1, -1
		if required.hold(&found.version) {
			return reply{status: http.StatusNotModified}
		}
		return c.refusal(errCondition())
	case c.media:
		return reply{status: http.StatusOK, media: &found}
	}
	return jsonReply(appendObject(nil, c.bucket, &found, parseSelection(c.query.Get("fields"))))
}
