package dataset

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"html"
	"math/rand/v2"
	"strings"
)

// content is what is in a file.
type content int

// The four files of a certificate, and anything else.
const (
	pdf content = iota
	signed
	validPage
	howToPage
	stranger
	contents // how many there are
)

// contentTypes are what edx-certificates uploaded the files as.
var contentTypes = [contents]string{
	pdf: "application/pdf", signed: "application/octet-stream", validPage: "text/html", howToPage: "text/html",
	stranger: "text/plain",
}

// certificatePDF makes a PDF of one page, small but valid: objects, cross-reference table and trailer agree.
func certificatePDF(name string) []byte {
	page := "BT /F1 28 Tf 120 380 Td (Certificate of Achievement) Tj 0 -60 Td (" + pdfText(name) + ") Tj ET\n"
	objects := []string{
		"<< /Type /Catalog /Pages 2 0 R >>",
		"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
		"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 842 595] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
		fmt.Sprintf("<< /Length %d >>\nstream\n%sendstream", len(page), page),
		"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
	}
	var file, table bytes.Buffer
	file.WriteString("%PDF-1.4\n")
	table.WriteString("0000000000 65535 f \n")
	for i, object := range objects {
		fmt.Fprintf(&table, "%010d 00000 n \n", file.Len())
		fmt.Fprintf(&file, "%d 0 obj\n%s\nendobj\n", i+1, object)
	}
	start := file.Len()
	fmt.Fprintf(&file, "xref\n0 %d\n%strailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n",
		len(objects)+1, table.Bytes(), len(objects)+1, start)
	return file.Bytes()
}

// pdfText writes a Latin-1 text as the inside of a PDF string.
func pdfText(s string) string {
	var text strings.Builder
	for _, r := range s {
		if r < 0x80 && !strings.ContainsRune(`()\`, r) {
			text.WriteRune(r)
		} else {
			fmt.Fprintf(&text, `\%03o`, r)
		}
	}
	return text.String()
}

// armor makes what looks like a detached signature. Nothing verifies it.
func armor(source *rand.ChaCha8) []byte {
	raw := make([]byte, 287) // of an RSA-2048 signature packet
	_, _ = source.Read(raw)  // it never fails
	text := base64.StdEncoding.EncodeToString(raw)
	var file bytes.Buffer
	file.WriteString("-----BEGIN PGP SIGNATURE-----\nVersion: GnuPG v1.4.11 (GNU/Linux)\n\n")
	for len(text) > 0 {
		n := min(64, len(text))
		file.WriteString(text[:n] + "\n")
		text = text[n:]
	}
	file.WriteString("=" + base64.StdEncoding.EncodeToString(raw[:3]) + "\n-----END PGP SIGNATURE-----\n")
	return file.Bytes()
}

const htmlPage = `<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>%s</title></head>
<body>
%s
</body>
</html>
`

// validHTML is the page that says that a certificate is genuine.
func validHTML(name string, signature []byte) []byte {
	body := fmt.Sprintf("<h1>This is a valid certificate</h1>\n<p>It was issued to <b>%s</b>.</p>\n<pre>%s</pre>",
		html.EscapeString(name), signature)
	return fmt.Appendf(nil, htmlPage, "Certificate verification", body)
}

// verifyHTML is the page that says how to verify a signature by hand.
func verifyHTML(name string) []byte {
	body := fmt.Sprintf("<h1>How to verify the certificate of %s</h1>\n<p>gpg --verify Certificate.pdf.sig "+
		"Certificate.pdf</p>",
		html.EscapeString(name))
	return fmt.Appendf(nil, htmlPage, "How to verify", body)
}
