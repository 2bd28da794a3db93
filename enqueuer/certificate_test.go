package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pb33f/jsonschema/v6"

	"github.com/certpurge/certpurge/internal/certificate"
	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
)

const certificateSchema = "../docs/certificate.schema.json"

// certificateFormat is docs/certificate.schema.json, with its formats checked, too.
var certificateFormat = sync.OnceValue(func() *jsonschema.Schema {
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	evidence, err := os.ReadFile("../docs/evidence.schema.json")
	if err != nil {
		panic(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(evidence))
	if err != nil {
		panic(err)
	}
	const published = "https://github.com/certpurge/certpurge/blob/main/docs/evidence.schema.json"
	if err := compiler.AddResource(published, value); err != nil {
		panic(err)
	}
	return compiler.MustCompile(certificateSchema)
})

func checkFormat(text []byte) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return certificateFormat().Validate(value)
}

// certificate makes the certificate of a user in a file, and holds it against the schema.
func (c *shell) certificate(code, user int) (file string, made *certificate.Certificate) {
	c.t.Helper()
	out, said := c.run(code, "certificate", strconv.Itoa(user), "-o", "json")
	if err := checkFormat([]byte(out)); err != nil {
		c.t.Fatalf("it does not follow %s: %v\n%s%s", certificateSchema, err, out, said)
	}
	made, err := certificate.Parse(strings.NewReader(out))
	if err != nil {
		c.t.Fatalf("%v\n%s", err, out)
	}
	if (made.Kind == certificate.KindCertificate) != (code == cli.ExitOK) {
		c.t.Errorf("got a %s with the exit code %d", made.Kind, code)
	}
	return c.file("certificate.json", out), made
}

// newKey writes a pair of keys as openssl does, and returns the files.
func newKey(t *testing.T) (private, public string) {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	der, err := x509.MarshalPKCS8PrivateKey(priv)
	private = write("key.pem", "PRIVATE KEY", der, err)
	der, err = x509.MarshalPKIXPublicKey(pub)
	return private, write("pub.pem", "PUBLIC KEY", der, err)
}

func (c *shell) signWith(key string) {
	c.environ = append(c.environ, "CERTPURGE_EVIDENCE_SIGNING_KEY_FILE="+key)
}

// whats are the kinds of what is left, each once.
func whats(c *certificate.Certificate) (all []certificate.What) {
	for _, l := range c.Left {
		if !slices.Contains(all, l.What) {
			all = append(all, l.What)
		}
	}
	return all
}

func TestCertificate(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	user := c.purged("alice", purge.BucketSettings{Bucket: "certs", Versioning: true})
	anchored := c.anchor()
	_, made := c.certificate(cli.ExitOK, user)
	rows := c.db.DumpTable(t, c.db.Ledger+".evidence_documents")
	r := made.Requests[0]
	if len(made.Requests) != 1 || r.Ticket != "PRIV-7" || !strings.HasSuffix(r.RequestedBy, " for privacy office") ||
		r.State != purge.Done || r.Chain.First != 1 || r.Chain.Last != 2 ||
		r.Chain.Hash != hex.EncodeToString([]byte(rows[1]["hash"])) && !strings.EqualFold(r.Chain.Hash, rows[1]["hash"]) {
		t.Errorf("requests: got %+v, want the hash %q", made.Requests, rows[1]["hash"])
	}
	erased := 0
	for _, dir := range made.Certificates[0].Directories {
		if len(dir.Listings) != 2 || dir.Listings[0].Generations != len(dir.Objects) || dir.Listings[1].Generations != 0 {
			t.Errorf("got %+v", dir)
		}
		for _, o := range dir.Objects {
			if o.Outcome == purge.Erased && o.Size == 1 && o.Generation != "" && o.ListedAt != nil && o.SettledAt != nil {
				erased++
			}
		}
	}
	if links := made.Certificates[0].Links; erased != 4 || len(links) != 1 || links[0].Cleared != 1 ||
		len(made.Buckets) != 1 || !made.Buckets[0].Versioning {
		t.Errorf("got %+v and %+v", made.Certificates, made.Buckets)
	}
	if len(made.Anchors) != 1 || made.Anchors[0].Hash != hex.EncodeToString(anchored.Hash[:]) ||
		len(made.Anchors[0].Documents) != 2 || made.Signature != nil || made.LMS.State != "COMPLETE" {
		t.Errorf("got %+v", made)
	}
	report, _ := c.run(cli.ExitOK, "report", "--user", strconv.Itoa(user), "-o", "text")
	text, _ := c.run(cli.ExitOK, "certificate", strconv.Itoa(user))
	page, _ := c.run(cli.ExitOK, "certificate", strconv.Itoa(user), "-o", "html")
	when := regexp.MustCompile(`(?m)^Made at \S+, `)
	if when.ReplaceAllString(report, "") != when.ReplaceAllString(text, "") {
		t.Errorf("the report is another text:\n%s\n%s", report, text)
	}
	for _, want := range []string{
		"<h1>Certificate of erasure</h1>", "4 objects deleted, 1 link cleared, and nothing is left", "gs://certs/downloads/",
		"PRIV-7", "certpurge 1.2.3", r.Chain.Hash, made.Anchors[0].Hash, "Certificate.pdf.sig", "not signed",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not have %q:\n%s", want, page)
		}
	}
	if links := regexp.MustCompile(`href="[^"]{0,40}`).FindAllString(page, -1); len(links) != 1 ||
		!strings.HasPrefix(links[0], `href="data:application/json;base64,`) {
		t.Errorf("got the links %q", links)
	}
	for _, never := range []string{"alice", "<script", "src=", "url(", "@import", "ZgotmplZ"} {
		if strings.Contains(page+text, never) {
			t.Errorf("the page or the text has %q", never)
		}
	}
}

// TestStatements is of users of whom something is left, or may be.
func TestStatements(t *testing.T) {
	t.Parallel()
	plain := purge.BucketSettings{Bucket: "certs"}
	full := func() *purgetest.Cloud {
		cloud := purgetest.NewCloud()
		cloud.AcceptSoftDelete = true
		for _, file := range purgetest.FourFiles() {
			cloud.Put(file)
		}
		return cloud
	}
	for name, tc := range map[string]struct {
		do    func(c *shell) (user int, again func())
		want  []certificate.What
		after []certificate.What // when it was done again; none: a certificate
	}{
		"queued": {
			do: func(c *shell) (int, func()) {
				user := c.requested("alice")
				return user, func() { c.purge(user, full(), plain) }
			},
			want: []certificate.What{certificate.LeftRequest, certificate.LeftUndone, certificate.LeftReferences},
		},
		"held": {
			do: func(c *shell) (int, func()) {
				user, cloud := c.requested("alice"), full()
				cloud.Hold(purgetest.FourFiles()[3], true, false)
				c.purge(user, cloud, plain)
				return user, func() {
					cloud.Hold(purgetest.FourFiles()[3], false, false)
					c.run(cli.ExitOK, "requeue", "--user", strconv.Itoa(user), "--execute")
					c.purge(user, cloud, plain)
				}
			},
			want: []certificate.What{
				certificate.LeftRequest, certificate.LeftUndone, certificate.LeftReferences, certificate.LeftKept,
			},
		},
		"files missing": {
			do: func(c *shell) (int, func()) {
				user, cloud := c.requested("alice"), full()
				cloud.Remove(purgetest.FourFiles()[3])
				c.purge(user, cloud, plain)
				return user, func() {
					c.run(cli.ExitOK, "requeue", strconv.FormatInt(int64(c.requestsOf(user)[0].ID), 10), "--execute", "--accept-missing")
					c.purge(user, cloud, plain)
				}
			},
			want: []certificate.What{
				certificate.LeftRequest, certificate.LeftUndone, certificate.LeftReferences, certificate.LeftDoubt,
			},
		},
		"restorable": {
			do: func(c *shell) (int, func()) {
				user, cloud := c.requested("alice"), full()
				cloud.SoftDelete(7 * 24 * time.Hour)
				c.purge(user, cloud, purge.BucketSettings{Bucket: "certs", SoftDelete: 7 * 24 * time.Hour})
				return user, func() {}
			},
			want:  []certificate.What{certificate.LeftRestorable},
			after: []certificate.What{certificate.LeftRestorable},
		},
		"a worker died": {
			do: func(c *shell) (int, func()) {
				user, cloud := c.requested("alice"), full()
				attempt, err := c.store.Begin(c.t.Context(), purge.Task{Request: c.requestsOf(user)[0].ID, User: purge.UserID(user)})
				if err != nil {
					c.t.Fatal(err)
				}
				dir := purge.Directory{Bucket: "certs", Prefix: "downloads/" + purgetest.DownloadID + "/"}
				if _, err := c.store.Intend(c.t.Context(), attempt, []purge.Evidence{{
					CertificateID: 1, Table: purge.Live, Outcome: purge.Listed,
					Generation: purge.Generation{Directory: dir, Name: dir.Prefix + "Certificate.pdf", Number: 4, Size: 1},
				}}, nil); err != nil {
					c.t.Fatal(err)
				}
				return user, func() {
					c.db.Exec(c.t, "UPDATE "+c.db.Ledger+".requests SET leased_until = '2020-01-01'")
					c.purge(user, cloud, plain)
				}
			},
			want: []certificate.What{
				certificate.LeftRequest, certificate.LeftUndone, certificate.LeftReferences, certificate.LeftDoubt,
			},
		},
		"the reference is back": {
			do: func(c *shell) (int, func()) {
				user := c.purged("alice", plain)
				row := "UPDATE " + c.db.LMS + ".certificates_generatedcertificate SET download_uuid = "
				c.db.Exec(c.t, row+"'"+purgetest.DownloadID+"'")
				return user, func() { c.db.Exec(c.t, row+"''") }
			},
			want: []certificate.What{certificate.LeftReferences},
		},
		"evidence removed": {
			do: func(c *shell) (int, func()) {
				user := c.purged("alice", plain)
				c.db.Exec(c.t, "DELETE FROM "+c.db.Ledger+".evidence_documents")
				return user, func() {}
			},
			want:  []certificate.What{certificate.LeftRemoved},
			after: []certificate.What{certificate.LeftRemoved},
		},
		"evidence changed": {
			do: func(c *shell) (int, func()) {
				user := c.purged("alice", plain)
				c.db.Exec(c.t, "UPDATE "+c.db.Ledger+".evidence_documents SET document = REPLACE(document, '\"size\":1', '\"size\":2')")
				return user, func() {}
			},
			want:  []certificate.What{certificate.LeftChanged},
			after: []certificate.What{certificate.LeftChanged},
		},
		"evidence rewritten behind an anchor": {
			do: func(c *shell) (int, func()) {
				user := c.purged("alice", plain)
				c.anchor()
				c.db.Exec(c.t, "UPDATE "+c.db.Ledger+".evidence_documents SET document = REPLACE(document, '\"size\":1', '\"size\":2')"+
					" WHERE number = 2")
				c.rewriteHash(2)
				return user, func() {}
			},
			want:  []certificate.What{certificate.LeftChanged},
			after: []certificate.What{certificate.LeftChanged},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newShell(t)
			user, again := tc.do(c)
			file, made := c.certificate(cli.ExitNotDone, user)
			if got := whats(made); !slices.Equal(got, tc.want) {
				t.Errorf("got %v, want %v: %+v", got, tc.want, made.Left)
			}
			text, said := c.run(cli.ExitNotDone, "certificate", strconv.Itoa(user))
			heading := "Statement of what is left"
			if slices.Contains(tc.want, certificate.LeftChanged) {
				heading = "Statement: the evidence is not as it was written"
			}
			page, _ := c.run(cli.ExitNotDone, "certificate", "--from", file, "-o", "html")
			if !strings.Contains(text, "This is no certificate") || !strings.Contains(text, "What was not erased, and why\n") ||
				!strings.Contains(page, "<h1>"+heading+"</h1>") || !strings.Contains(said, "is no certificate") {
				t.Errorf("got\n%s\n%s", text, said)
			}
			c.run(cli.ExitOK, "verify", file)
			again()
			code := cli.ExitOK
			if len(tc.after) > 0 {
				code = cli.ExitNotDone
			}
			_, made = c.certificate(code, user)
			if accepted := len(made.Reservations) > 0; accepted != (name == "files missing") ||
				accepted == strings.Contains(made.Summary(), "nothing is left") && made.Kind == certificate.KindCertificate {
				t.Errorf("got %q with %+v", made.Summary(), made.Reservations)
			}
			if !slices.Equal(whats(made), tc.after) {
				t.Errorf("afterwards: got %v, want %v: %+v", whats(made), tc.after, made.Left)
			}
			c.run(cli.ExitOK, "verify", file) // what has been added is no difference
		})
	}
}

// rewriteHash gives a document the hash that fits it, as an administrator could.
func (c *shell) rewriteHash(id int64) {
	c.t.Helper()
	var before, text []byte
	err := c.db.Root.QueryRowContext(c.t.Context(), "SELECT b.hash, d.document FROM "+c.db.Ledger+".evidence_documents d JOIN "+
		c.db.Ledger+".evidence_documents b ON b.id = d.id - 1 WHERE d.id = ?", id).Scan(&before, &text)
	if err != nil {
		c.t.Fatal(err)
	}
	sum := sha256.Sum256(append(before, text...))
	c.db.Exec(c.t, "UPDATE "+c.db.Ledger+".evidence_documents SET hash = X'"+hex.EncodeToString(sum[:])+"' WHERE id = "+
		strconv.FormatInt(id, 10))
}

// TestSoftDeleteRunsOut: what could be restored is on a certificate as soon as it cannot be any more.
func TestSoftDeleteRunsOut(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	user := purge.UserID(c.purged("alice", purge.BucketSettings{Bucket: "certs", SoftDelete: 7 * 24 * time.Hour}))
	for days, want := range map[int]certificate.Kind{6: certificate.KindStatement, 8: certificate.KindCertificate} {
		made, err := certificate.Read(t.Context(), c.store, user, certificate.Origin{Software: "test"}, time.Now().AddDate(0, 0, days))
		if err != nil || made.Kind != want || (made.Recoverable.SoftDeleted == 4) != (want == certificate.KindStatement) {
			t.Errorf("after %d days: got %+v, %v", days, made, err)
		}
	}
}

func TestVerifyCertificate(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	key, public := newKey(t)
	_, other := newKey(t)
	c.signWith(key)
	user := c.purged("alice", purge.BucketSettings{Bucket: "certs"})
	c.run(cli.ExitOK, "enqueue", strconv.Itoa(user), "--ticket", "PRIV-8") // an event
	c.anchor()
	file, made := c.certificate(cli.ExitOK, user)
	for _, args := range [][]string{{}, {"--key", public}, {"--offline"}, {"--offline", "--key", public}} {
		c.run(cli.ExitOK, append([]string{"verify", file}, args...)...)
	}
	out, _ := c.run(cli.ExitOK, "verify", file, "--key", public)
	if !strings.HasPrefix(out, "certificate for user "+strconv.Itoa(user)+" of ") || !strings.HasSuffix(out,
		"signed with the given key, "+made.Signature.KeyID+"\ncompared with the ledger\n") {
		t.Errorf("got %q", out)
	}
	out, _ = c.run(cli.ExitOK, "verify", file, "--offline")
	if !strings.Contains(out, "use --key to check whose key that is\nnot compared") {
		t.Errorf("got %q", out)
	}
	if out, _ = c.run(cli.ExitNotDone, "verify", file, "--key", other); !strings.Contains(out, "not with ") {
		t.Errorf("another key: got %q", out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if out, _ := c.pipe(cli.ExitOK, string(text), "verify", "-", "-o", "json"); !strings.Contains(out,
		`"trusted":false,"compared":true,"troubles":[]`) {
		t.Errorf("standard input: got %q", out)
	}
	for _, change := range [][2]string{
		{`"PRIV-7"`, `"PRIV-9"`},
		{`"size":1`, `"size":2`},
		{`"outcome":"erased"`, `"outcome":"absent"`},
		{`"value":"`, `"value":"AAAA`},
		{`"user_id":` + strconv.Itoa(user), `"user_id":9`},
		{made.Requests[0].Chain.Hash, strings.Repeat("0", 64)},
		{`"key_id":"`, `"key_id":"0`},
	} {
		changed := strings.Replace(string(text), change[0], change[1], 1)
		if changed == string(text) {
			t.Fatalf("there is no %s in %s", change[0], text)
		}
		if _, said := c.run(cli.ExitNotDone, "verify", c.file("certificate.json", changed), "--offline"); !strings.Contains(said, "does not hold") {
			t.Errorf("%s: got %q", change, said)
		}
	}
	for _, bad := range []string{
		"", "x", "{}", `{"kind":"certificate","version":2}`, " " + string(text), strings.Replace(string(text), `":"`, `": "`, 1),
		strings.Replace(string(text), `"kind"`, `"name":"Ada","kind"`, 1), strings.TrimSuffix(string(text), "}"),
		strings.Replace(string(text), `"kind":"certificate"`, `"kind":"statement"`, 1), string(text) + "{}",
	} {
		if _, said := c.run(cli.ExitUsage, "verify", c.file("certificate.json", bad), "--offline"); !strings.Contains(said, "this ") {
			t.Errorf("%.40q: got %q", bad, said)
		}
	}
	for _, args := range [][]string{
		{"--offline"},
		{"--key", public},
		{file, "--anchor", strings.Repeat("0", 64)},
		{"/nowhere"},
		{file, "--key", key},
		{file, "--key", file},
	} {
		c.run(cli.ExitUsage, append([]string{"verify"}, args...)...)
	}
}

// TestVerifyFindsEveryChangedRow changes one row of the ledger by hand, and back again. The document is not signed.
func TestVerifyFindsEveryChangedRow(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	user := c.purged("alice", purge.BucketSettings{Bucket: "certs"})
	c.run(cli.ExitOK, "enqueue", strconv.Itoa(user), "--ticket", "PRIV-8") // an event
	c.anchor()
	file, _ := c.certificate(cli.ExitOK, user)
	for change, back := range map[string]string{
		"requests SET ticket = 'X'":                                               "requests SET ticket = 'PRIV-7'",
		"requests SET objects_erased = 3":                                         "requests SET objects_erased = 4",
		"requests SET state = 'failed', ended_as = 'failed:'":                     "requests SET state = 'done', ended_as = 'done:'",
		"requests SET user_id = user_id + 1":                                      "requests SET user_id = user_id - 1",
		"requests SET requested_at = requested_at - INTERVAL 1 DAY":               "requests SET requested_at = requested_at + INTERVAL 1 DAY",
		"requests SET finished_at = finished_at - INTERVAL 1 DAY":                 "requests SET finished_at = finished_at + INTERVAL 1 DAY",
		"events SET ticket = 'X'":                                                 "events SET ticket = 'PRIV-8'",
		"events SET at = at - INTERVAL 1 DAY":                                     "events SET at = at + INTERVAL 1 DAY",
		"evidence_documents SET document = REPLACE(document, 'erased', 'absent')": "evidence_documents SET document = REPLACE(document, 'absent', 'erased')",
		"evidence_documents SET user_id = user_id + 1 WHERE number = 2":           "evidence_documents SET user_id = user_id - 1 WHERE number = 2",
		"evidence_documents SET number = 3 WHERE number = 2":                      "evidence_documents SET number = 2 WHERE number = 3",
		"evidence_documents SET hash = REVERSE(hash) WHERE number = 2":            "evidence_documents SET hash = REVERSE(hash) WHERE number = 2",
		"anchors SET hash = REVERSE(hash)":                                        "anchors SET hash = REVERSE(hash)",
		"anchors SET at = at - INTERVAL 1 DAY":                                    "anchors SET at = at + INTERVAL 1 DAY",
		"anchors SET last_id = 1":                                                 "anchors SET last_id = 2",
	} {
		update := "UPDATE " + c.db.Ledger + "."
		c.db.Exec(t, update+change)
		out, said := c.run(cli.ExitNotDone, "verify", file)
		if !strings.Contains(said, "does not hold") {
			t.Errorf("%s: got %q and %q", change, out, said)
		}
		c.db.Exec(t, update+back)
		c.run(cli.ExitOK, "verify", file)
	}
	// A document that was written anew with a fitting hash.
	c.db.Exec(t, "UPDATE "+c.db.Ledger+".evidence_documents SET document = REPLACE(document, '\"size\":1', '\"size\":2') WHERE id = 2")
	c.rewriteHash(2)
	if out, _ := c.run(cli.ExitNotDone, "verify", file); !strings.Contains(out, "document 2 of request 1 has the hash ") {
		t.Errorf("got %q", out)
	}
}

// TestVerifyFindsWhatTheLedgerDoesNotSay changes a document that is not signed.
func TestVerifyFindsWhatTheLedgerDoesNotSay(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	user := c.purged("alice", purge.BucketSettings{Bucket: "certs"})
	c.anchor()
	file, made := c.certificate(cli.ExitOK, user)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{
		{`"outcome":"erased"`, `"outcome":"absent"`},
		{`"size":1`, `"size":2`},
		{`"generations":0`, `"generations":1`},
		{`"cleared":1`, `"cleared":2`},
		{`"versioning":false`, `"versioning":true`},
		{`"kept":0`, `"kept":1`},
		{`"Copies that were made`, `"No copies that were made`},
		{`"ticket":"PRIV-7"`, `"ticket":"PRIV-8"`},
		{`"objects_erased":4`, `"objects_erased":5`},
		{`"worker":"worker-1:7"`, `"worker":"worker-2:7"`},
		{made.Requests[0].Chain.Hash, strings.Repeat("0", 64)},
		{made.Anchors[0].Hash, strings.Repeat("0", 64)},
		{`"request_id":1,"requested_at"`, `"request_id":9,"requested_at"`},
	} {
		changed := strings.Replace(string(text), change[0], change[1], 1)
		if changed == string(text) {
			t.Fatalf("there is no %s in %s", change[0], text)
		}
		if out, said := c.run(cli.ExitNotDone, "verify", c.file("changed.json", changed)); !strings.Contains(said, "does not hold") {
			t.Errorf("%s: got %q and %q", change, out, said)
		}
	}
}

// TestVerifyAfterMoreHasHappened: a statement stays true of its time when the request has run again.
func TestVerifyAfterMoreHasHappened(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	user := c.purged("alice", purge.BucketSettings{Bucket: "certs"})
	file, _ := c.certificate(cli.ExitOK, user)
	c.db.Exec(t, "UPDATE "+c.db.LMS+".certificates_generatedcertificate SET download_uuid = '"+purgetest.DownloadID+"'")
	c.run(cli.ExitOK, "enqueue", strconv.Itoa(user))
	c.run(cli.ExitOK, "verify", file)
	cloud := purgetest.NewCloud()
	cloud.Put(purgetest.FourFiles()[3])
	if state := c.purge(user, cloud, purge.BucketSettings{Bucket: "certs"}); state != purge.Done {
		t.Fatalf("got %s", state)
	}
	c.anchor()
	c.run(cli.ExitOK, "verify", file)
	again, _ := c.certificate(cli.ExitOK, user)
	c.run(cli.ExitOK, "verify", again)
	c.db.Exec(t, "DELETE FROM "+c.db.Ledger+".evidence_documents WHERE number = 2")
	for _, file := range []string{file, again} {
		if out, _ := c.run(cli.ExitNotDone, "verify", file); !strings.Contains(out, "document 2 of request 1 is missing") {
			t.Errorf("got %q", out)
		}
	}
}

// TestVerifyWithoutALedger is on a machine that has nothing but the program, the file and a key.
func TestVerifyWithoutALedger(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	key, public := newKey(t)
	c.signWith(key)
	file, _ := c.certificate(cli.ExitOK, c.purged("alice", purge.BucketSettings{Bucket: "certs"}))
	c.environ = nil
	if out, _ := c.run(cli.ExitOK, "verify", file, "--key", public); !strings.Contains(out, "not compared with a ledger\n") {
		t.Errorf("got %q", out)
	}
	page, _ := c.run(cli.ExitOK, "certificate", "--from", file, "-o", "html")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(text)
	if !strings.Contains(page, hex.EncodeToString(sum[:])) {
		t.Errorf("the page does not have the hash of the file:\n%s", page)
	}
	if out, _ := c.run(cli.ExitOK, "certificate", "--from", file, "-o", "json"); out != string(text) {
		t.Errorf("got %s", out)
	}
	changed := c.file("certificate.json", strings.Replace(string(text), `"PRIV-7"`, `"PRIV-9"`, 1))
	c.run(cli.ExitUsage, "certificate", "--from", changed)
	c.environ = []string{"CERTPURGE_MYSQL_DSN=u:p@tcp(127.0.0.1:1)/certpurge"}
	c.run(cli.ExitUnavailable, "verify", file)
}

func TestCertificateOfNothing(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	c.run(cli.ExitUsage, "certificate", "42")
	c.run(cli.ExitUsage, "certificate", "Ada")
	c.run(cli.ExitUsage, "certificate")
	c.run(cli.ExitUsage, "certificate", "42", "--from", "x")
	user := c.db.AddRetiringUser(t, "alice", "COMPLETE")
	c.run(cli.ExitNotKnown, "certificate", strconv.Itoa(user))
	c.run(cli.ExitOK, "enqueue", strconv.Itoa(user))
	c.end(user, purge.Report{State: purge.Done, Reason: purge.ReasonNothingToPurge})
	_, made := c.certificate(cli.ExitOK, user)
	if !strings.HasPrefix(made.Summary(), "Nothing was found to erase") {
		t.Errorf("got %q", made.Summary())
	}
	refused := c.db.AddRetiringUser(t, "bob", "PENDING")
	c.run(cli.ExitOK, "enqueue", strconv.Itoa(refused))
	c.end(refused, purge.Report{State: purge.Refused, Reason: purge.ReasonNotRetiring})
	if _, made := c.certificate(cli.ExitNotDone, refused); !slices.Equal(whats(made), []certificate.What{certificate.LeftUndone}) {
		t.Errorf("got %+v", made.Left)
	}
}

// TestSigningKeysThatDoNotFit: each is named with what is expected, and its content is not shown.
func TestSigningKeysThatDoNotFit(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	user := c.purged("alice", purge.BucketSettings{Bucket: "certs"})
	_, public := newKey(t)
	environ := c.environ
	for name, tc := range map[string]struct{ file, want string }{
		"none":       {"/nowhere/key.pem", "no such file"},
		"not PEM":    {c.file("certificate.json", "secret words"), "is no PEM file: expected -----BEGIN PRIVATE KEY-----"},
		"public":     {public, "holds a PUBLIC KEY: expected -----BEGIN PRIVATE KEY-----"},
		"not PKCS#8": {c.file("certificate.json", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"), "holds no private key in PKCS#8 form"},
	} {
		c.environ = environ
		c.signWith(tc.file)
		out, said := c.run(cli.ExitConfiguration, "certificate", strconv.Itoa(user), "-o", "json")
		if out != "" || !strings.Contains(said, "evidence.signing_key_file: ") || !strings.Contains(said, tc.want) ||
			strings.Contains(said, "secret") {
			t.Errorf("%s: got %q and %q", name, out, said)
		}
	}
}

// TestTheCertificateSchemaIsStrict: what it allows too much, no test of a certificate would find.
func TestTheCertificateSchemaIsStrict(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	key, _ := newKey(t)
	c.signWith(key)
	file, _ := c.certificate(cli.ExitOK, c.purged("alice", purge.BucketSettings{Bucket: "certs"}))
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range [][2]string{
		{`"version":1`, `"version":2`},
		{`"kind":"certificate"`, `"kind":"statement"`},
		{`"kind":"certificate"`, `"kind":"certificate","left":[{"text":"x","what":"doubt"}]`},
		{`"outcome":"erased"`, `"outcome":"gone"`},
		{`"size":1`, `"size":"1"`},
		{`"state":"done"`, `"state":"over"`},
		{`"key_id":"`, `"key_id":"x`},
		{`"out_of_reach":[`, `"name":"Ada","out_of_reach":[`},
	} {
		changed := strings.Replace(string(text), wrong[0], wrong[1], 1)
		if changed == string(text) || checkFormat([]byte(changed)) == nil {
			t.Errorf("%s is allowed", wrong[1])
		}
	}
	var schema struct {
		Defs struct {
			Left struct {
				Properties struct {
					What struct{ Enum []certificate.What }
				}
			}
		} `json:"$defs"`
	}
	page, err := os.ReadFile(certificateSchema)
	if err == nil {
		err = json.Unmarshal(page, &schema)
	}
	if got, want := schema.Defs.Left.Properties.What.Enum, []certificate.What{
		certificate.LeftChanged, certificate.LeftRemoved, certificate.LeftRequest, certificate.LeftUndone,
		certificate.LeftReferences, certificate.LeftKept, certificate.LeftDoubt, certificate.LeftRestorable,
	}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

func TestReportOfATicket(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	for _, name := range []string{"alice", "bob", "carol"} {
		c.db.AddRetiringUser(t, name, "COMPLETE")
	}
	c.run(cli.ExitOK, "enqueue", "1", "--ticket", "PRIV-7")
	c.run(cli.ExitOK, "enqueue", "2", "--ticket", "priv-7")
	c.run(cli.ExitOK, "enqueue", "3", "--ticket", "PRIV-8")
	c.run(cli.ExitOK, "enqueue", "3", "--ticket", "PRIV-7") // submitted again: an event
	out, _ := c.run(cli.ExitOK, "report", "--ticket", "PRIV-7")
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || len(rows) != 3 || rows[1][1] != "1" || rows[2][1] != "3" || rows[2][11] != "PRIV-8" {
		t.Errorf("got %q, %v", rows, err)
	}
	if out, _ = c.run(cli.ExitOK, "report", "--ticket", "priv-7", "-o", "json"); strings.Count(out, "\n") != 1 ||
		!strings.Contains(out, `"request_id":2,"user_id":2,`) {
		t.Errorf("got %q", out)
	}
	if out, _ = c.run(cli.ExitOK, "report", "--ticket", "PRIV-8", "-o", "text"); !strings.HasPrefix(out, "user 3: request 3 queued") {
		t.Errorf("got %q", out)
	}
	if _, said := c.run(cli.ExitNotKnown, "report", "--ticket", "PRIV-9"); !strings.Contains(said, `the ticket "PRIV-9"`) {
		t.Errorf("got %q", said)
	}
	c.run(cli.ExitUsage, "report", "--ticket", "PRIV-7", "--user", "1")
	c.run(cli.ExitUsage, "report", "--ticket", "PRIV-7", "-o", "documents")
}

// TestAnchorsAsThePageTellsThem computes an anchor as docs/evidence.md shows it, from hexadecimal digits.
func TestAnchorsAsThePageTellsThem(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	c.purged("alice", purge.BucketSettings{Bucket: "certs"})
	before, after := [32]byte{}, int64(0)
	for _, name := range []string{"bob", "carol"} {
		c.purged(name, purge.BucketSettings{Bucket: "certs"})
		made := c.anchor()
		text := []string{hex.EncodeToString(before[:])}
		rows, err := c.db.Root.QueryContext(t.Context(), "SELECT CONCAT(LPAD(HEX(id), 16, '0'), HEX(hash)) FROM "+c.db.Ledger+
			".evidence_documents WHERE id > ? AND id <= ? ORDER BY id", after, made.Last)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				t.Fatal(err)
			}
			text = append(text, line)
		}
		data, err := hex.DecodeString(strings.Join(text, ""))
		if sum := sha256.Sum256(data); err != nil || rows.Err() != nil || sum != made.Hash || len(data) <= 32 {
			t.Errorf("got %x of %s, %v, want %x", sum, text, err, made.Hash)
		}
		before, after = made.Hash, made.Last
	}
}
