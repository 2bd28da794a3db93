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

// Digest is the SHA-256 of the JSON form, which the page stands for.
func (p printed) Digest() (string, error) {
	text, err := p.Encode()
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), err
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
	}
	if l.State != "" {
		parts = append(parts, "state "+l.State)
	}
	n := l.LiveReferences + l.HistoryReferences
	return strings.Join(append(parts, english.Plural(n, "link to a file", "links to files")), ", ")
}

// RecoverableTexts say what can still be recovered.
func (p printed) RecoverableTexts() []string { return p.recoverableTexts() }

// Listed are the directories that have listings, each once, although several certificates may name one.
func (p printed) Listed() (all []Directory) {
	for _, of := range p.Certificates {
		for _, dir := range of.Directories {
			told := slices.ContainsFunc(all, func(d Directory) bool { return d.name() == dir.name() })
			if len(dir.Listings) > 0 && !told {
				all = append(all, dir)
			}
		}
	}
	return all
}
