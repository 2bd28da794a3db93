package certificate_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html"
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/certificate"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// TestThePolicyAllowsThePagesOwnStyle: a browser compares the hash with what stands between the tags.
func TestThePolicyAllowsThePagesOwnStyle(t *testing.T) {
	t.Parallel()
	var page strings.Builder
	if err := (&certificate.Certificate{Kind: certificate.KindCertificate}).WriteHTML(&page); err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(page.String(), "<style>")
	style, _, found := strings.Cut(rest, "</style>")
	sum := sha256.Sum256([]byte(style))
	if policy := certificate.ContentSecurityPolicy(); !found || len(style) < 100 ||
		!strings.Contains(policy, "style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") {
		t.Errorf("got %s for the style %q", policy, style)
	}
}

// made is a certificate with all that a page shows.
func made() *certificate.Certificate {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return &certificate.Certificate{
		Version: certificate.Version, Kind: certificate.KindCertificate, UserID: 42, MadeAt: at, Software: "certpurge 9.9",
		LMS: certificate.LMS{ReadAt: at, UserExists: true}, OutOfReach: []string{"Copies."},
		Requests: []certificate.Request{{ID: 7, Timeline: []mysql.TimelineEntry{
			{Kind: mysql.TimelineAttempt, At: at, Ended: &at, Software: "certpurge 8.8"},
		}}},
		Certificates: []certificate.Erasure{{CertificateID: 3, Directories: []certificate.Directory{{
			Bucket: "certs", Prefix: "a/", Listings: []certificate.Listing{{RequestID: 7, Attempt: 3}},
		}}}},
	}
}

func htmlOf(t *testing.T, c *certificate.Certificate) string {
	t.Helper()
	var page strings.Builder
	if err := c.WriteHTML(&page); err != nil {
		t.Fatal(err)
	}
	return page.String()
}

// TestThePageHoldsItsDocument: the file behind the link is the JSON form, and has the printed hash.
func TestThePageHoldsItsDocument(t *testing.T) {
	t.Parallel()
	c := made()
	page := htmlOf(t, c)
	_, rest, _ := strings.Cut(page, `download="erasure-42.json" href="data:application/json;base64,`)
	address, _, _ := strings.Cut(rest, `"`)
	file, err := base64.StdEncoding.DecodeString(html.UnescapeString(address))
	want, errEncode := c.Encode()
	if err != nil || errEncode != nil || !bytes.Equal(file, want) {
		t.Fatalf("got %q, %v, want %q, %v", file, err, want, errEncode)
	}
	if hash := fmt.Sprintf(`erasure-42.json</td><td class="mono">%x<`, sha256.Sum256(file)); !strings.Contains(page, hash) {
		t.Errorf("no %s in %s", hash, page)
	}
}

// TestThePageSaysWhatIsThere: in the document's own numbers, and nothing of what there is none.
func TestThePageSaysWhatIsThere(t *testing.T) {
	t.Parallel()
	c := made()
	check := func(present bool, texts ...string) {
		t.Helper()
		page := htmlOf(t, c)
		for _, text := range texts {
			if strings.Contains(page, text) != present {
				t.Errorf("%q: got %v in %s", text, !present, page)
			}
		}
	}
	check(true, "Attempt 7.3 is attempt 3 of request 7.", "<dt>Software</dt><dd>certpurge 8.8", "LMS certificate 3</h3>",
		"no retirement request, 0 links to files, as read at 2026-01-02T03:04:05Z", `<body class="certificate">`)
	c.Certificates, c.Requests[0].Timeline, c.LMS.Retirement = nil, nil, true
	check(false, "is attempt ", "<dt>Software</dt>", "An LMS certificate", "no retirement request", "Installation")

	c.Kind, c.Left = certificate.KindStatement, []certificate.Left{{What: certificate.LeftChanged, Text: "X was changed"}}
	check(true, "<h2>Evidence that is not as it was written</h2>", "the evidence is not as it was written.</p>")
	check(false, "something is left", "What is left, or may be")
	c.Left = append(c.Left, certificate.Left{What: certificate.LeftKept, Text: "Y is held"})
	check(true, "What is left, or may be", "<h2>Evidence that is not as it was written</h2>", "and something is left")
}

// TestThePageShowsTextsAsTheyAre: what operators write, and names of objects, may hold anything.
func TestThePageShowsTextsAsTheyAre(t *testing.T) {
	t.Parallel()
	const odd = `</style><script>alert("x")</script>`
	at := time.Now().UTC()
	c := certificate.Certificate{
		Kind: certificate.KindStatement, Software: odd, OutOfReach: []string{odd},
		Left: []certificate.Left{{What: certificate.LeftDoubt, Bucket: odd, Object: odd, Text: odd}},
		Requests: []certificate.Request{{
			Detail: odd, Timeline: []mysql.TimelineEntry{{Kind: mysql.TimelineRequested, At: at, Actor: odd, Ticket: odd}},
		}},
		Certificates: []certificate.Erasure{{Directories: []certificate.Directory{{
			Bucket: odd, Prefix: odd, Objects: []certificate.Object{{Name: odd, Outcome: purge.Erased, AcceptedBy: odd}},
		}}}},
		Installation: odd, Reservations: []certificate.Reservation{{Bucket: odd, Prefix: odd, AcceptedBy: odd}},
		Signature: &certificate.Signature{Algorithm: odd, KeyID: odd, PublicKey: odd, Value: odd},
	}
	var page strings.Builder
	if err := c.WriteHTML(&page); err != nil {
		t.Fatal(err)
	}
	if text := page.String(); strings.Contains(text, "<script") || strings.Count(text, "</style>") != 1 ||
		strings.Count(text, "&lt;script&gt;") < 18 {
		t.Errorf("got %s", text)
	}
}
