package certificate_test

import (
	"crypto/sha256"
	"encoding/base64"
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
		Signature: &certificate.Signature{Algorithm: odd, KeyID: odd, PublicKey: odd, Value: odd},
	}
	var page strings.Builder
	if err := c.WriteHTML(&page); err != nil {
		t.Fatal(err)
	}
	if text := page.String(); strings.Contains(text, "<script") || strings.Count(text, "</style>") != 1 ||
		strings.Count(text, "&lt;script&gt;") < 13 {
		t.Errorf("got %s", text)
	}
}
