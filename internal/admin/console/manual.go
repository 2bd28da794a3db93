package console

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"strings"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"

	"github.com/certpurge/certpurge/docs"
)

// repository is where links of the manual lead that do not lead to one of its pages.
const repository = "https://github.com/certpurge/certpurge/blob/main/"

// runbook is the address of a runbook, without the base.
func runbook(name string) string { return "/docs/operations/" + name }

// manualPage is a page of the manual.
type manualPage struct {
	frame

	Text template.HTML
}

// serveManual serves a page of the manual, which is a part of the program.
func (c *Console) serveManual(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("page")
	if name == "" || strings.HasSuffix(name, "/") {
		name += "README"
	}
	source, err := docs.Pages.ReadFile(name + ".md")
	if err != nil {
		c.showMessage(w, r, http.StatusNotFound, message{
			frame: c.framed(r, "Runbooks", "No such page"), Level: "warn", Back: runbook(""),
			Text: fmt.Sprintf("The manual has no page %.80q.", name),
		})
		return
	}
	links := manualLinks{page: name, base: c.about.Base}
	var html bytes.Buffer
	markdown := goldmark.New(goldmark.WithExtensions(extension.Table), goldmark.WithParserOptions(
		parser.WithAutoHeadingID(), parser.WithASTTransformers(util.Prioritized(&links, 0))))
	ids := parser.WithContext(parser.NewContext(parser.WithIDs(headingIDs{})))
	if err := markdown.Convert(source, &html, ids); err != nil {
		c.fail(w, r, "Runbooks", err)
		return
	}
	c.show(w, r, http.StatusOK, "manual", manualPage{
		frame: c.framed(r, "Runbooks", links.title),
		Text:  template.HTML(focusable.Replace(html.String())), //nolint:gosec // of pages that are a part of the program
	})
}

// focusable lets the keyboard scroll what is wider than the page.
var focusable = strings.NewReplacer("<pre>", `<pre tabindex="0">`)

// manualLinks rewrites the links of a page: to another page of the manual, or to the repository.
type manualLinks struct {
	page, base string
	title      string // of the page: its first heading
}

// Transform implements [parser.ASTTransformer].
func (m *manualLinks) Transform(doc *ast.Document, reader text.Reader, _ parser.Context) {
	_ = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) { // the walker below never fails
		switch n := n.(type) {
		case *ast.Heading:
			if entering && m.title == "" {
				m.title = headingText(n, reader.Source())
			}
		case *ast.Link:
			if entering {
				n.Destination = []byte(m.rewrite(string(n.Destination)))
			}
		}
		return ast.WalkContinue, nil
	})
}

// headingText is a heading without its markup.
func headingText(n ast.Node, source []byte) string {
	var b strings.Builder
	for child := n.FirstChild(); child != nil; child = child.NextSibling() {
		if t, ok := child.(*ast.Text); ok {
			b.Write(t.Value(source))
		} else {
			b.WriteString(headingText(child, source))
		}
	}
	return b.String()
}

func (m *manualLinks) rewrite(link string) string {
	if strings.HasPrefix(link, "#") || strings.Contains(link, "://") {
		return link
	}
	file, fragment, _ := strings.Cut(link, "#")
	if fragment != "" {
		fragment = "#" + fragment
	}
	at := path.Join("docs", path.Dir(m.page), file)
	name, inDocs := strings.CutPrefix(at, "docs/")
	if page, ok := strings.CutSuffix(name, ".md"); ok && inDocs {
		if _, err := docs.Pages.Open(name); err == nil {
			return m.base + "/docs/" + strings.TrimSuffix(page, "README") + fragment
		}
	}
	return repository + at + fragment
}

// headingIDs gives headings the ids that GitHub gives them, because links of the manual are written for both.
type headingIDs map[string]bool

// Generate implements [parser.IDs].
func (h headingIDs) Generate(heading []byte, _ ast.NodeKind) []byte {
	name := strings.Map(func(r rune) rune {
		switch {
		case r == ' ' || r == '-':
			return '-'
		case r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		default:
			return -1
		}
	}, string(heading))
	id := name
	for n := 1; h[id]; n++ {
		id = fmt.Sprintf("%s-%d", name, n)
	}
	h[id] = true
	return []byte(id)
}

// Put implements [parser.IDs].
func (h headingIDs) Put(id []byte) { h[string(id)] = true }
