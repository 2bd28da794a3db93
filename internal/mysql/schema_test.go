package mysql_test

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/pb33f/jsonschema/v6"

	"github.com/certpurge/certpurge/internal/evidence"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
)

const schemaFile = "../../docs/evidence.schema.json"

// documentSchema is docs/evidence.schema.json, with its formats checked, too.
var documentSchema = sync.OnceValue(func() *jsonschema.Schema {
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	schema, err := compiler.Compile(schemaFile)
	if err != nil {
		panic(err)
	}
	return schema
})

// checkDocument holds a document against the schema, and its bytes against their canonical form.
func checkDocument(text []byte) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	if err := documentSchema().Validate(value); err != nil {
		return err
	}
	canonical := jsontext.Value(slices.Clone(text))
	if err := canonical.Canonicalize(); err != nil {
		return err
	}
	if !bytes.Equal(canonical, text) {
		return os.ErrInvalid
	}
	return nil
}

// checkDocuments holds all documents that a test has left against the schema.
func (f *fixture) checkDocuments() (n int) {
	f.t.Helper()
	rows, err := f.db.Root.Query("SELECT id, document FROM " + //nolint:noctx // the test's context has ended
		f.db.Ledger + ".evidence_documents")
	if err != nil {
		return 0 // the test took the table or the server away
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var text []byte
		if err := rows.Scan(&id, &text); err != nil {
			f.t.Fatal(err)
		}
		if err := checkDocument(text); err != nil {
			f.t.Errorf("document %d does not follow %s: %v\n%s", id, schemaFile, err, text)
		}
		n++
	}
	return n
}

// TestDocumentsFollowTheSchema has documents of several kinds; those of every other test are checked at its end.
func TestDocumentsFollowTheSchema(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	f.Writer = evidence.Writer{Worker: "host:1", Software: "certpurge 1.2.3"}
	user := f.NewUser(purgetest.Retiring)
	f.NewReference(user, purge.Live, idD, idV, "")
	f.NewReference(user, purge.History, idD, idV, "")
	f.submit(purge.Submission{User: user, Key: "k", By: "cli, alice@ops", Ticket: "PRIV-7", Source: purge.SourceCLI})
	f.purgeWith(user, purge.BucketSettings{
		Bucket: "certs", Versioning: true, SoftDelete: time.Hour, Retention: time.Hour, RequesterPays: true,
		SoftDeleteUnknown: true,
	})
	refused := f.submit(purge.Submission{User: f.NewUser(purge.Retirement{}), Key: "x"})
	f.end(refused, purge.Report{State: purge.Refused, Reason: purge.ReasonNotRetiring, Detail: "no \u2028 request"})
	if n := f.checkDocuments(); n != 3 {
		t.Errorf("got %d documents", n)
	}
	at := time.Now().UTC()
	old := evidence.Written{Attempt: 2, ListedAt: &at, SettledAt: &at}
	migrated := evidence.Document{
		Version: evidence.Version, Part: evidence.Migrated, At: at, Request: evidence.Request{ID: 1, UserID: 42},
		Directories: []evidence.Directory{{
			Bucket: "certs", Prefix: "downloads/x/", CertificateID: 7, Table: purge.Live, Outcome: purge.Absent, Written: old,
			Generations: []evidence.Generation{{Name: "y", Number: "9223372036854775807", Outcome: purge.Erased, Written: old}},
		}},
		Links: []evidence.Link{{CertificateID: 7, Table: purge.Live, Cleared: 1, Written: old}},
	}
	text, err := migrated.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := checkDocument(text); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
	for _, wrong := range [][2]string{
		{`"version":1`, `"version":2`},
		{`"part":"migrated"`, `"part":"x"`},
		{`"size":0`, `"size":"0"`},
		{`"user_id":42`, `"user_id":42,"name":"Ada"`},
		{`"outcome":"erased"`, `"outcome":"gone"`},
		{`"attempt":0,`, ``},
		{`"table":"live"`, `"table": "live"`},
	} {
		changed := bytes.Replace(text, []byte(wrong[0]), []byte(wrong[1]), 1)
		if err := checkDocument(changed); err == nil || bytes.Equal(changed, text) {
			t.Errorf("%s: got %v", wrong[1], err)
		}
	}
}

// TestTheSchemaKnowsAllWords compares its lists with ours.
func TestTheSchemaKnowsAllWords(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Defs map[string]struct {
			Enum []string
		} `json:"$defs"`
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	var states, reasons []string
	for _, s := range purge.States() {
		states = append(states, string(s))
	}
	for _, r := range purge.Reasons() {
		reasons = append(reasons, string(r))
	}
	for name, want := range map[string][]string{"state": states, "reason": reasons} {
		got := schema.Defs[name].Enum
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
