package gcstest

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// getBucket handles GET /b/BUCKET.
func (s *Server) getBucket(c *call, b *bucket, denied map[string]bool) reply {
	if denied[permBucketGet] {
		return c.refusal(errDenied(permBucketGet, "bucket"))
	}
	resource := b.resource(c.bucket)
	if selected := parseSelection(c.query.Get("fields")); selected != nil {
		for key := range resource {
			if !selected.has(key) {
				delete(resource, key)
			}
		}
	}
	return marshalReply(resource)
}

// resource is the bucket's metadata as the service sends it: durations in whole seconds, as strings.
func (b *bucket) resource(name string) map[string]any {
	b.mu.RLock()
	defer b.mu.RUnlock()
	softDelete := map[string]any{"retentionDurationSeconds": seconds(b.cfg.SoftDelete)}
	if b.cfg.SoftDelete > 0 {
		softDelete["effectiveTime"] = b.softDeleteSince.rfc3339()
	}
	resource := map[string]any{
		"kind": "storage#bucket", "id": name, "name": name,
		"selfLink":      "https://www.googleapis.com/storage/v1/b/" + name,
		"projectNumber": "100000000001", "metageneration": strconv.FormatInt(b.metageneration, 10),
		"location": "US", "locationType": "multi-region", "storageClass": "STANDARD",
		"timeCreated": b.created.rfc3339(), "updated": b.updated.rfc3339(),
		"etag":             base64.StdEncoding.EncodeToString([]byte(strconv.FormatInt(b.metageneration, 10))),
		"softDeletePolicy": softDelete,
		"iamConfiguration": map[string]any{
			"uniformBucketLevelAccess": map[string]any{
				"enabled":    true,
				"lockedTime": b.created.add(90 * 24 * time.Hour).rfc3339(),
			},
			"publicAccessPrevention": "inherited",
		},
	}
	if b.cfg.Versioning {
		resource["versioning"] = map[string]any{"enabled": true}
	}
	if b.cfg.Retention > 0 {
		resource["retentionPolicy"] = map[string]any{
			"retentionPeriod": seconds(b.cfg.Retention), "effectiveTime": b.retentionSince.rfc3339(),
		}
	}
	if b.cfg.DefaultEventBasedHold {
		resource["defaultEventBasedHold"] = true
	}
	if b.cfg.Hierarchical {
		resource["hierarchicalNamespace"] = map[string]any{"enabled": true}
	}
	if b.cfg.RequesterPays {
		resource["billing"] = map[string]any{"requesterPays": true}
	}
	return resource
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

// testPermissions handles GET /b/BUCKET/iam/testPermissions: what was asked for and is not denied. It needs no
// permission.
func testPermissions(c *call, denied map[string]bool) reply {
	answer := struct {
		Kind        string   `json:"kind"`
		Permissions []string `json:"permissions,omitempty"`
	}{Kind: "storage#testIamPermissionsResponse"}
	for _, permission := range c.query["permissions"] {
		if !denied[permission] {
			answer.Permissions = append(answer.Permissions, permission)
		}
	}
	return marshalReply(answer)
}

// list handles GET /b/BUCKET/o.
func (s *Server) list(c *call, b *bucket, denied map[string]bool) reply {
	if denied[permList] {
		return c.refusal(errDenied(permList, "bucket"))
	}
	q, refused := c.listing()
	if refused == nil && q.softDeleted && b.settings().SoftDelete <= 0 {
		refused = errSoftDeleteOff("list soft-deleted versions")
	}
	if refused != nil {
		return c.refusal(refused)
	}
	page, next := b.list(at(s.now()), q)
	if s.emptyPages.Load() {
		page, next = q.interleave(page, next)
	}
	return jsonReply(appendListing(c.bucket, page, next, parseSelection(c.query.Get("fields"))))
}

// listing reads the parameters of a listing.
func (c *call) listing() (listing, *Error) {
	for _, unknown := range []string{"matchGlob", "filter", "endOffset", "includeTrailingDelimiter"} {
		if value := c.query.Get(unknown); value != "" && value != "false" {
			return listing{}, errNotEmulated("the parameter " + unknown)
		}
	}
	var bad *Error
	q := listing{
		prefix: c.name, from: c.query.Get("startOffset"),
		delimiter: c.query.Get("delimiter"), versions: c.flag("versions"), softDeleted: c.flag("softDeleted"), limit: maxPage,
	}
	q.folders = c.flag("includeFoldersAsPrefixes") && q.delimiter == "/"
	if n := c.number("maxResults", &bad); n > 0 {
		q.limit = int(min(n, maxPage))
	}
	if token := c.query.Get("pageToken"); token != "" {
		var ok bool
		if q.after, ok = parseToken(token); !ok {
			bad = errInvalid("Invalid value for pageToken.")
		}
	}
	if q.versions && q.softDeleted {
		bad = errInvalid("Cannot list both versions and soft-deleted objects.")
	}
	return q, bad
}

// token makes a page token, which clients must not look into.
func (p *position) token() string {
	generation := strconv.FormatInt(p.generation, 10)
	if p.items {
		generation = "i" + generation
	}
	return base64.RawURLEncoding.EncodeToString([]byte(generation + " " + p.name))
}

func parseToken(token string) (*position, bool) {
	text, err := base64.RawURLEncoding.DecodeString(token)
	generation, name, found := strings.Cut(string(text), " ")
	if err != nil || !found {
		return nil, false
	}
	generation, items := strings.CutPrefix(generation, "i")
	g, err := strconv.ParseInt(generation, 10, 64)
	return &position{name: name, generation: g, items: items}, err == nil
}

// marshalReply answers with a value that always marshals.
func marshalReply(value any) reply {
	body, err := json.Marshal(value)
	if err != nil {
		return reply{status: http.StatusInternalServerError, contentType: "text/plain", body: []byte(err.Error())}
	}
	return jsonReply(body)
}
