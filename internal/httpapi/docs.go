package httpapi

import (
	_ "embed"
	"net/http"

	"github.com/swaggest/swgui"
	"github.com/swaggest/swgui/v5emb"
)

// Document is the OpenAPI 3.1 document of the native face.
//
//go:embed openapi.yaml
var Document []byte

// docsPolicy lets the page of the document use what we serve, and nothing from elsewhere. The page has its scripts and
// styles inline.
const docsPolicy = "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src " +
	"'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// addDocs serves the document and a page that shows it. Neither needs a token: they hold no data of a user.
func (s *Server) addDocs(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/openapi.yaml", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/yaml")
		_, _ = w.Write(Document) // the client is gone
	})
	page := v5emb.NewHandlerWithConfig(swgui.Config{
		Title: "certpurge", SwaggerJSON: s.PathPrefix + "/v1/openapi.yaml", BasePath: s.PathPrefix + "/v1/docs/",
		InternalBasePath: "/v1/docs/",
		HideCurl:         true, SettingsUI: map[string]string{"supportedSubmitMethods": "[]"},
	})
	serve := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", docsPolicy)
		page.ServeHTTP(w, r)
	}
	mux.HandleFunc("GET /v1/docs", serve)
	mux.HandleFunc("GET /v1/docs/{file}", serve)
}
