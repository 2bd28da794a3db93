package gcs_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/gcs"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestOnlyAWholeListingIsBelieved answers listings with pages that are none, or not whole.
func TestOnlyAWholeListingIsBelieved(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		page string
		ok   bool
	}{
		"an empty one": {`{"kind": "storage#objects"}`, true},
		"with the kind at its end": {"{\n \"nextPageToken\": \"\", \"prefixes\": [], \"items\": [],\n \"kind\": " +
			"\"storage#objects\"\n}\n", true},
		"with an error beside it":       {`{"kind": "storage#objects", "error": {"code": 503}}`, false},
		"with an error before it":       {`{"error": {"code": 503}, "kind": "storage#objects"}`, false},
		"with the word further down":    {`{"kind": "storage#objects", "x": {"error": 1}}`, true},
		"that leads to itself":          {`{"kind": "storage#objects", "nextPageToken": "a"}`, false},
		"without a kind":                {`{"items": []}`, false},
		"of another kind":               {`{"kind": "storage#object"}`, false},
		"with a kind that is no text":   {`{"kind": {"kind": "storage#objects"}}`, false},
		"with the kind further down":    {`{"data": {"kind": "storage#objects"}}`, false},
		"with the kind in an item":      {`{"items": [{"kind": "storage#objects"}]}`, false},
		"that is a list":                {`[{"kind": "storage#objects"}]`, false},
		"that is a text":                {`"kind"`, false},
		"that is nothing":               {``, false},
		"cut off in the kind":           {`{"kind": "storage#obj`, false},
		"cut off after the kind":        {`{"kind": "storage#objects"`, false},
		"cut off in the items":          {`{"kind": "storage#objects", "items": [`, false},
		"with something behind it":      {`{"kind": "storage#objects"} <html>`, false},
		"with rubbish between":          {`{"kind": "storage#objects", oops}`, false},
		"with items that are something": {`{"kind": "storage#objects", "items": "none"}`, false},
		"with errors beside":            {`{"kind": "storage#objects", "errors": []}`, false},
		"with an Error":                 {`{"kind": "storage#objects", "Error": null}`, false},
		"with two kinds":                {`{"kind": "storage#objects", "kind": "storage#objects"}`, false},
		"with two lists of items":       {`{"kind": "storage#objects", "items": [{"name": "x"}], "items": []}`, false},
		"with items and Items":          {`{"kind": "storage#objects", "items": [], "Items": []}`, false},
		"with ITEMS only":               {`{"kind": "storage#objects", "ITEMS": []}`, false},
		"with items that are null":      {`{"kind": "storage#objects", "items": null}`, false},
		"with an item that is null":     {`{"kind": "storage#objects", "items": [null]}`, false},
		"with an item with two names":   {`{"kind": "storage#objects", "items": [{"name": "a", "name": "b"}]}`, false},
		"with a token that is a number": {`{"kind": "storage#objects", "nextPageToken": 7}`, false},
		"with a token that is null":     {`{"kind": "storage#objects", "nextPageToken": null}`, false},
		"with a Token in another case":  {`{"kind": "storage#objects", "nextpagetoken": "a"}`, false},
		"with prefixes":                 {`{"kind": "storage#objects", "prefixes": ["downloads/x/y/"]}`, false},
		"with more that is new":         {`{"kind": "storage#objects", "etag": "CAE=", "extra": {"a": [1]}}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, err := gcs.Open(t.Context(), gcs.Config{
				GCS: config.GCS{
					CallTimeout: time.Minute, MaxTries: 1, MaxInFlight: 1, MaxGenerations: 10, MaxListingBytes: 1 << 20,
					AttributesMaxAge: time.Hour, Anonymous: true,
				},
				Locations: purgetest.OneLocation(t),
				Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
					if !strings.HasSuffix(r.URL.Path, "/o") {
						return answer(r, http.StatusOK, "application/json", `{"kind": "storage#bucket", "name": "certs"}`), nil
					}
					return answer(r, http.StatusOK, "application/json", tc.page), nil
				}),
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = store.Close() }) // nothing to lose
			if got, err := store.List(t.Context(), dirD); (err == nil) != tc.ok || len(got) > 0 {
				t.Errorf("got %v, %v; want it believed: %v", got, err, tc.ok)
			}
		})
	}
}
