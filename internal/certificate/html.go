package certificate

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

//go:embed page.css
var style string

//go:embed page.html
var page string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"style": func() template.CSS { return template.CSS(style) }, //nolint:gosec // our own
	"entry": EntryText,
	"time":  func(t time.Time) string { return clock(&t) },
}).Parse(page))

// ContentSecurityPolicy is what a server sends with the page: its own style and nothing else.
func ContentSecurityPolicy() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

// WriteHTML writes the page, which stands alone: it loads nothing and runs nothing.
func (c *Certificate) WriteHTML(w io.Writer) error {
	if err := pageTemplate.Execute(w, printed{c}); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}

// printed is what the page shows of a document.
type printed struct{ *Certificate }

// Digest is the SHA-256 of the JSON form, which the page presents.
func (p printed) Digest() (string, error) {
	text, err := p.Encode()
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), err
}

// Class is what the style of the page depends on.
func (p printed) Class() string {
	if p.Kind == KindCertificate && len(p.Reservations) > 0 {
		return "reserved"
	}
	return string(p.Kind)
}

// FileName is that of the JSON form.
func (c *Certificate) FileName() string { return fmt.Sprintf("erasure-%d.json", c.UserID) }

// File is the JSON form as an address, so that a saved page holds the document that it presents.
func (p printed) File() (template.URL, error) {
	text, err := p.Encode()
	address := "data:application/json;base64," + base64.StdEncoding.EncodeToString(text)
	return template.URL(address), err //nolint:gosec // base64 needs no escape
}

// Size is that of the JSON form, in bytes.
func (p printed) Size() (int, error) {
	text, err := p.Encode()
	return len(text), err
}

// Changed is the evidence that is not as it was written.
func (p printed) Changed() (all []Left) { return p.leftIf(true) }

// Remaining is what is left, without the evidence that is not as it was written.
func (p printed) Remaining() (all []Left) { return p.leftIf(false) }

func (p printed) leftIf(changed bool) (all []Left) {
	for _, l := range p.Left {
		if (l.What == LeftChanged) == changed {
			all = append(all, l)
		}
	}
	return all
}

// Legend explains the numbers of attempts by one that the page shows; empty if it shows none.
func (p printed) Legend() string {
	request, attempt := purge.RequestID(0), 0
	for _, b := range p.Buckets {
		request, attempt = b.RequestID, b.Attempt
	}
	for _, dir := range p.Listed() {
		for _, l := range dir.Listings {
			request, attempt = l.RequestID, l.Attempt
		}
	}
	if attempt == 0 {
		return ""
	}
	return fmt.Sprintf("Attempt %d.%d is attempt %d of request %d.", request, attempt, attempt, request)
}

// Programs are those that made the attempts.
func (p printed) Programs() (all []string) {
	for _, r := range p.Requests {
		for _, e := range r.Timeline {
			if e.Kind == mysql.TimelineAttempt && e.Software != "" && !slices.Contains(all, e.Software) {
				all = append(all, e.Software)
			}
		}
	}
	return all
}

// LMSText says what the LMS's database said.
func (p printed) LMSText() string {
	l := p.LMS
	if !l.UserExists {
		return "it has no such user"
	}
	var parts []string
	if l.Retirement {
		parts = append(parts, "retirement requested")
	} else {
		parts = append(parts, "no retirement request")
	}
	if l.State != "" {
		parts = append(parts, "state "+l.State)
	}
	n := l.LiveReferences + l.HistoryReferences
	return strings.Join(append(parts, english.Plural(n, "link to a file", "links to files")), ", ")
}

// Listed are the directories that have listings, each once, although several certificates may name one.
func (p printed) Listed() (all []Directory) {
	for _, of := range p.Certificates {
		for _, dir := range of.Directories {
			listed := slices.ContainsFunc(all, func(d Directory) bool { return d.name() == dir.name() })
			if len(dir.Listings) > 0 && !listed {
				all = append(all, dir)
			}
		}
	}
	return all
}
