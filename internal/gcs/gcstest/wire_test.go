package gcstest_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/gcs/gcstest"
)

func TestWireFormat(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gcstest.BucketConfig{})
	generation := w.put(t, "a/b", gcstest.ObjectOptions{ContentType: "text/plain", TemporaryHold: true})
	w.put(t, "free", gcstest.ObjectOptions{})
	equal(t, "generation follows the clock", generation, noon.UnixMicro())
	const held = "Object 'b/a/b' is under active Temporary hold and cannot be deleted, overwritten or archived until " +
		"hold is removed."
	tests := map[string]struct {
		method, path string
		status       int
		body         string
	}{
		"an error names code, message, domain and reason": {
			http.MethodDelete, "b/b/o/a%2Fb", 403,
			`{"error":{"code":403,"message":"` + held + `","errors":[{"message":"` + held +
				`","domain":"global","reason":"forbidden"}]}}`,
		},
		"a delete answers 204 with nothing": {http.MethodDelete, "b/b/o/free", 204, ""},
		"numbers of 64 bits are strings": {
			http.MethodGet, "b/b/o/a%2Fb?fields=name,generation,size,timeCreated", 200,
			`{"name":"a/b","generation":"1772452800000000","size":"12","timeCreated":"2026-03-02T12:00:00.000Z"}`,
		},
		"an empty listing has no items": {http.MethodGet, "b/b/o?prefix=none", 200, `{"kind":"storage#objects"}`},
		"a listing of chosen fields": {
			http.MethodGet, "b/b/o?prefix=a%2F&fields=nextPageToken,items(name,temporaryHold)", 200,
			`{"items":[{"name":"a/b","temporaryHold":true}]}`,
		},
		"the same with slashes": {
			http.MethodGet, "b/b/o?prefix=a%2F&fields=items/name,items/size", 200,
			`{"items":[{"name":"a/b","size":"12"}]}`,
		},
		"some fields of a bucket": {
			http.MethodGet, "b/b?fields=name,softDeletePolicy", 200,
			`{"name":"b","softDeletePolicy":{"retentionDurationSeconds":"0"}}`,
		},
		"not a number": {
			http.MethodDelete,
			"b/b/o/a%2Fb?generation=x",
			400,
			`{"error":{"code":400,"message":"Invalid value 'x' for generation.","errors":[{"message":"Invalid value 'x' for generation.","domain":"global","reason":"invalid"}]}}`,
		},
		"a stale condition names the header": {
			http.MethodDelete,
			"b/b/o/a%2Fb?ifGenerationMatch=1",
			412,
			`{"error":{"code":412,"message":"At least one of the pre-conditions you specified did not hold.","errors":[{"message":` +
				`"At least one of the pre-conditions you specified did not hold.","domain":"global","reason":"conditionNotMet","locationType":"header","location":"If-Match"}]}}`,
		},
		"slashes that are not encoded are not a name": {
			http.MethodDelete, "b/b/o/a/b", 400,
			`{"error":{"code":400,"message":"gcstest does not emulate DELETE /storage/v1/b/b/o/a/b.","errors":[` +
				`{"message":"gcstest does not emulate DELETE /storage/v1/b/b/o/a/b.","domain":"global","reason":"notEmulated"}]}}`,
		},
	}
	for behaviour, tc := range tests {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			answer := w.send(t, tc.method, w.baseURL+tc.path, nil)
			equal(t, "status", answer.status, tc.status)
			equal(t, "body", answer.body, tc.body)
		})
	}
}

func TestReadingOneObject(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gcstest.BucketConfig{SoftDelete: week})
	generation := w.put(t, "a", gcstest.ObjectOptions{})
	live := strconv.FormatInt(generation, 10)
	dead := strconv.FormatInt(w.put(t, "dead", gcstest.ObjectOptions{}), 10)
	equal(t, "delete", w.bucket.Object("dead").Delete(t.Context()), nil)
	off := newWorld(t, gcstest.BucketConfig{})
	off.Deny("b", "storage.objects.get")
	tests := map[string]struct {
		world  *world
		path   string
		status int
		text   string
	}{
		"metadata": {
			w, "storage/v1/b/b/o/a", 200,
			`"name":"a"`,
		},
		"a generation": {
			w, "storage/v1/b/b/o/a?generation=" + live, 200,
			`"generation":"` + live + `"`,
		},
		"a generation that is not there": {w, "storage/v1/b/b/o/a?generation=1", 404, "No such object: b/a"},
		"a condition that does not hold": {w, "storage/v1/b/b/o/a?ifGenerationMatch=1", 412, "conditionNotMet"},
		"a negative condition":           {w, "storage/v1/b/b/o/a?ifGenerationNotMatch=" + live, 304, ""},
		"content":                        {w, "storage/v1/b/b/o/a?alt=media", 200, "%PDF-1.7 a"},
		"the XML API is not emulated":    {w, "b/a", 400, "notEmulated"},
		"soft-deleted": {
			w, "storage/v1/b/b/o/dead?softDeleted=true&generation=" + dead, 200,
			`"hardDeleteTime":"2026-03-09T12:00:00.000Z"`,
		},
		"soft-deleted without a generation": {w, "storage/v1/b/b/o/dead?softDeleted=true", 400, "invalid"},
		"soft-deleted content": {
			w, "storage/v1/b/b/o/dead?softDeleted=true&alt=media&generation=" + dead,
			400, "invalid",
		},
		"a live one is not soft-deleted": {
			w, "storage/v1/b/b/o/a?softDeleted=true&generation=" + live, 404,
			"notFound",
		},
		"no permission":                         {off, "storage/v1/b/b/o/a", 403, "does not have storage.objects.get access"},
		"a page token that is none":             {w, "storage/v1/b/b/o?pageToken=%21", 400, "Invalid value for pageToken."},
		"a page token of something else":        {w, "storage/v1/b/b/o?pageToken=eA", 400, "Invalid value for pageToken."},
		"a segment that is not percent-encoded": {w, "storage/v1/b/b/o/a/acl", 400, "notEmulated"},
		"a list of buckets":                     {w, "storage/v1/b?project=p", 400, "notEmulated"},
	}
	for behaviour, tc := range tests {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			root := strings.TrimSuffix(tc.world.baseURL, "storage/v1/")
			answer := tc.world.send(t, http.MethodGet, root+tc.path, nil)
			equal(t, "status", answer.status, tc.status)
			if !strings.Contains(answer.body, tc.text) {
				t.Errorf("body: got %s, want %s in it", answer.body, tc.text)
			}
		})
	}
	t.Run("soft-deleted where there is no policy", func(t *testing.T) {
		t.Parallel()
		plain := newWorld(t, gcstest.BucketConfig{})
		answer := plain.send(t, http.MethodGet, plain.baseURL+"b/b/o/a?softDeleted=true&generation=1", nil)
		equal(t, "status", answer.status, http.StatusBadRequest)
		equal(t, "message", strings.Contains(answer.body, "Soft delete policy is required to request a soft-deleted version"),
			true)
	})
}
