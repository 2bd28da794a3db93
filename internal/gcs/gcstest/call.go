package gcstest

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// The operations a request can be, as [Server.SetHook], [Fault] and [Stats] name them.
const (
	OpBucketGet       = "bucketGet"
	OpTestPermissions = "testPermissions"
	OpList            = "list"
	OpGet             = "get" // Metadata and content of an object.
	OpDelete          = "delete"
	OpPatch           = "patch"
	OpBucketPatch     = "bucketPatch"
	OpFolders         = "folders" // Folders and managed folders, and a bucket's layout.
	OpBatch           = "batch"   // The request around the calls of a batch, of which each has an operation of its own.
	OpOther           = "other"   // Whatever is not emulated, and the portal that [ProxyRedirect] leads to.
)

// portalPath is where [ProxyRedirect] leads by default.
const portalPath = "/portal"

// call is a request, understood.
type call struct {
	op           string
	bucket, name string // The name of a listing is its prefix.
	query        url.Values
	media        bool   // The content is wanted, not the metadata.
	folders      string // Which kind, of OpFolders.
}

// understand reads the request line. It takes the escaped path apart: an object name is one segment, and its slashes
// are percent-encoded, which r.URL.Path no longer shows and http.ServeMux would tidy up.
func understand(r *http.Request) call {
	c := call{op: OpOther, query: r.URL.Query()}
	if rest, ok := strings.CutPrefix(r.URL.EscapedPath(), "/storage/v1/b/"); ok {
		return c.json(r.Method, strings.Split(rest, "/"))
	}
	return c
}

// json understands the segments after /b/ of a JSON API path.
func (c call) json(method string, segments []string) call {
	object := ""
	if len(segments) == 3 {
		object = segments[2]
	}
	if !c.unescape(segments[0], object) {
		return c
	}
	get := method == http.MethodGet
	switch {
	case len(segments) == 1 && get:
		c.op = OpBucketGet
	case len(segments) == 3 && segments[1] == "iam" && segments[2] == "testPermissions" && get:
		c.op, c.name = OpTestPermissions, ""
	case len(segments) == 2 && segments[1] == "o" && get:
		c.op, c.name = OpList, c.query.Get("prefix")
	case len(segments) == 3 && segments[1] == "o" && object != "" && get:
		c.op, c.media = OpGet, c.query.Get("alt") == "media"
	case len(segments) == 3 && segments[1] == "o" && object != "" && method == http.MethodDelete:
		c.op = OpDelete
	case len(segments) == 3 && segments[1] == "o" && object != "" && method == http.MethodPatch:
		c.op = OpPatch
	case len(segments) == 1 && method == http.MethodPatch:
		c.op = OpBucketPatch
	case len(segments) == 2 && segments[1] == "storageLayout" && get,
		len(segments) > 1 && (segments[1] == folderKind || segments[1] == managedKind):
		c.op, c.folders = OpFolders, segments[1]
	}
	return c
}

func (c *call) unescape(bucket, name string) bool {
	var errBucket, errName error
	c.bucket, errBucket = url.PathUnescape(bucket)
	c.name, errName = url.PathUnescape(name)
	return errBucket == nil && errName == nil && c.bucket != ""
}

// number reads an integer parameter; -1 if it was not given. It remembers the first that is not one in bad.
func (c *call) number(key string, bad **Error) int64 {
	text := c.query.Get(key)
	if text == "" {
		return -1
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if (err != nil || n < 0) && *bad == nil {
		*bad = errInvalid("Invalid value '" + text + "' for " + key + ".")
	}
	return n
}

// flag reads a boolean parameter; anything but "true" is false.
func (c *call) flag(key string) bool { return c.query.Get(key) == "true" }

// conditions reads the preconditions.
func (c *call) conditions(bad **Error) conditions {
	return conditions{
		generation:        c.number("ifGenerationMatch", bad),
		notGeneration:     c.number("ifGenerationNotMatch", bad),
		metageneration:    c.number("ifMetagenerationMatch", bad),
		notMetageneration: c.number("ifMetagenerationNotMatch", bad),
	}
}
