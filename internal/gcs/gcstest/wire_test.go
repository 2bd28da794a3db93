package gcstest_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

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

// TestEntityTagIsTheServices compares with an object of the real service (measured 2026-09-29).
func TestEntityTagIsTheServices(t *testing.T) {
	t.Parallel()
	s := gcstest.New(gcstest.WithClock(func() time.Time { return time.UnixMicro(1790696465415283) }))
	s.CreateBucket("b", gcstest.BucketConfig{})
	if _, err := s.Put("b", "u", []byte("u2"), gcstest.ObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/storage/v1/b/b/o/u?fields=etag",
		http.NoBody))
	equal(t, "etag", w.Body.String(), `{"etag":"CPP44pWQlJcDEAE="}`)
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
			`"selfLink":"https://www.googleapis.com/storage/v1/b/b/o/a"`,
		},
		"a generation": {
			w, "storage/v1/b/b/o/a?generation=" + live, 200,
			`"generation":"` + live + `"`,
		},
		"a generation that is not there": {w, "storage/v1/b/b/o/a?generation=1", 404, "No such object: b/a"},
		"a condition that does not hold": {w, "storage/v1/b/b/o/a?ifGenerationMatch=1", 412, "conditionNotMet"},
		"a negative condition":           {w, "storage/v1/b/b/o/a?ifGenerationNotMatch=" + live, 304, ""},
		"content":                        {w, "storage/v1/b/b/o/a?alt=media", 200, "%PDF-1.7 a"},
		"content through the media link": {
			w, "download/storage/v1/b/b/o/a?generation=" + live + "&alt=media", 200,
			"%PDF-1.7 a",
		},
		"content through the XML API": {w, "b/a", 200, "%PDF-1.7 a"},
		"missing object through the XML API": {
			w, "b/none", 404,
			"<Code>NoSuchKey</Code><Message>No such object: b/none</Message>",
		},
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
		"no permission through the XML API":     {off, "b/a", 403, "<Code>AccessDenied</Code>"},
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

func TestUploading(t *testing.T) {
	t.Parallel()
	related := http.Header{"Content-Type": {"multipart/related; boundary=x"}}
	part := func(meta string) string {
		return "--x\r\nContent-Type: application/json\r\n\r\n" + meta +
			"\r\n--x\r\nContent-Type: application/pdf\r\n\r\n%PDF\r\n--x--"
	}
	tests := map[string]struct {
		query  string
		header http.Header
		body   string
		status int
		text   string
	}{
		"media": {
			"uploadType=media&name=n",
			http.Header{"Content-Type": {"text/plain"}},
			"%PDF", 200,
			`"contentType":"text/plain"`,
		},
		"media without a name": {"uploadType=media", nil, "%PDF", 400, "required"},
		"multipart": {
			"uploadType=multipart", related, part(`{"name":"n"}`), 200,
			`"contentType":"application/pdf"`,
		},
		"multipart with holds": {
			"uploadType=multipart", related, part(`{"name":"n","temporaryHold":true}`), 200,
			`"temporaryHold":true`,
		},
		"multipart with retention": {
			"uploadType=multipart", related,
			part(`{"name":"n","retention":{"mode":"Locked","retainUntilTime":"2026-04-01T00:00:00Z"}}`), 200,
			`"retentionExpirationTime":"2026-04-01T00:00:00.000Z"`,
		},
		"multipart with a checksum": {
			"uploadType=multipart", related, part(`{"name":"n","crc32c":"AAAAAA=="}`), 400,
			"doesn't match calculated CRC32C",
		},
		"multipart without a name":     {"uploadType=multipart", related, part(`{}`), 400, "required"},
		"multipart without boundaries": {"uploadType=multipart", related, "%PDF", 400, "Malformed upload"},
		"multipart of one part":        {"uploadType=multipart", related, "--x\r\n\r\n{}\r\n--x--", 400, "Malformed upload"},
		"multipart without JSON":       {"uploadType=multipart", related, part(`name`), 400, "Malformed upload"},
		"multipart without its type": {
			"uploadType=multipart",
			http.Header{"Content-Type": {";"}},
			part(`{}`), 400,
			"Malformed upload",
		},
		"resumable is not emulated": {"uploadType=resumable&name=n", nil, "", 400, "notEmulated"},
		"a condition that is none":  {"uploadType=media&name=n&ifGenerationMatch=x", nil, "", 400, "ifGenerationMatch"},
	}
	for behaviour, tc := range tests {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, gcstest.BucketConfig{})
			url := strings.Replace(w.baseURL, "/storage", "/upload/storage", 1) + "b/b/o?" + tc.query
			answer := w.sendBody(t, http.MethodPost, url, tc.header, tc.body)
			equal(t, "status", answer.status, tc.status)
			if !strings.Contains(answer.body, tc.text) {
				t.Errorf("body: got %s, want %s in it", answer.body, tc.text)
			}
			stored := w.Objects("b", "")
			equal(t, "stored", len(stored) == 1 && stored[0].Name == "n" && stored[0].Size == 4, tc.status == http.StatusOK)
			w.Deny("b", "storage.objects.create")
			answer = w.sendBody(t, http.MethodPost, url, tc.header, tc.body)
			equal(t, "status without permission", answer.status, http.StatusForbidden)
		})
	}
}
