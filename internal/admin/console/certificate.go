package console

import (
	"bytes"
	"fmt"
	"net/http"

	"github.com/certpurge/certpurge/internal/certificate"
	"github.com/certpurge/certpurge/internal/purge"
)

// serveCertificate serves the certificate of erasure of a user, or the statement of what is left: a page to print, or
// with ?form=json the signed document, to keep.
func (c *Console) serveCertificate(w http.ResponseWriter, r *http.Request) {
	user, err := purge.ParseUserID(r.PathValue("id"))
	if err != nil {
		c.reject(w, r, badAddress("user: %w", err))
		return
	}
	document, err := c.sources.Certificate(r.Context(), user)
	if err != nil {
		c.fail(w, r, "Requests", err)
		return
	}
	if document == nil {
		c.tell(w, r, http.StatusNotFound, message{
			frame: c.framed(r, "Requests", "No request"), Level: "warn", Back: fmt.Sprintf("/users/%d", user),
			Text: fmt.Sprintf("No request was ever made for user %d, so there is nothing to certify.", user),
		})
		return
	}
	if r.URL.Query().Get("form") == "json" {
		text, err := document.Encode()
		if err != nil {
			c.fail(w, r, "Requests", err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="erasure-%d.json"`, user))
		_, _ = w.Write(text) // the client has gone; there is no one to tell
		return
	}
	var page bytes.Buffer
	if err := document.WriteHTML(&page); err != nil {
		c.fail(w, r, "Requests", err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", certificate.ContentSecurityPolicy())
	_, _ = w.Write(page.Bytes()) // the client has gone; there is no one to tell
}
