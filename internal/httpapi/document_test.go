package httpapi_test

import (
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"

	"github.com/certpurge/certpurge/internal/httpapi"
)

// document is openapi.yaml, read once: as a model, and as something that checks answers.
var document = sync.OnceValues(func() (libopenapi.Document, validator.Validator) {
	doc, err := libopenapi.NewDocument(httpapi.Document)
	if err != nil {
		panic(err)
	}
	checker, errs := validator.NewValidator(doc)
	if len(errs) > 0 {
		panic(errs)
	}
	return doc, checker
})

var checking sync.Mutex

func TestDocumentIsValid(t *testing.T) {
	t.Parallel()
	_, checker := document()
	if ok, errs := checker.ValidateDocument(); !ok {
		for _, err := range errs {
			t.Errorf("%s: %s %v", err.Message, err.Reason, err.SchemaValidationErrors)
		}
	}
}

func TestDocumentDescribesEveryRouteAndNoOther(t *testing.T) {
	t.Parallel()
	doc, _ := document()
	model, err := doc.BuildV3Model()
	if err != nil {
		t.Fatal(err)
	}
	var described []string
	for pattern, item := range model.Model.Paths.PathItems.FromOldest() {
		for method, operation := range item.GetOperations().FromOldest() {
			described = append(described, strings.ToUpper(method)+" "+pattern)
			if operation.Summary == "" || len(operation.Tags) == 0 {
				t.Errorf("%s %s has no summary or no tag", method, pattern)
			}
		}
	}
	routes := newHarness(t).server.Routes()
	slices.Sort(described)
	slices.Sort(routes)
	if !slices.Equal(described, routes) {
		t.Errorf("described\n  %s\nserved\n  %s", strings.Join(described, "\n  "), strings.Join(routes, "\n  "))
	}
}

// checkAgainstDocument holds an answer against what the document says of its route: status, headers, body.
func checkAgainstDocument(t *testing.T, prefix string, r *http.Request, response *http.Response) {
	t.Helper()
	known, ok := strings.CutPrefix(path.Clean(r.URL.Path), prefix)
	if !ok || response.StatusCode == http.StatusMethodNotAllowed || !strings.HasPrefix(known, "/v1/requests") &&
		!strings.HasPrefix(known, "/v1/users") &&
		!slices.Contains(httpapi.DriverPaths(), known) {
		return
	}
	asked := r.Clone(r.Context())
	asked.URL.Path = known
	_, checker := document()
	checking.Lock() // the validator's caches are its own business, but the race detector's, too
	defer checking.Unlock()
	for _, body := range bodies(t, response) {
		response.Body = io.NopCloser(strings.NewReader(body))
		if ok, errs := checker.ValidateHttpResponse(asked, response); !ok {
			for _, err := range errs {
				t.Errorf("%s %s answered %d, which the document does not describe: %s: %s\n%s", r.Method, known,
					response.StatusCode, err.Message, err.Reason, body)
			}
		}
	}
}

// bodies are what the schema of an answer is about: the body, or each line of NDJSON. Of many lines a few tell.
func bodies(t *testing.T, response *http.Response) []string {
	t.Helper()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	if response.Header.Get("Content-Type") != "application/x-ndjson" {
		return []string{string(data)}
	}
	lines := slices.Collect(strings.Lines(string(data)))
	return lines[:min(len(lines), 3)]
}
