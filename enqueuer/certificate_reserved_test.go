package main

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/certificate"
	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
)

// TestCertificateWithAReservation: missing files that an operator has accepted are on it, with who accepted them and
// when, and no form of it says that nothing is left.
func TestCertificateWithAReservation(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	user := c.requested("alice")
	cloud, plain := purgetest.NewCloud(), purge.BucketSettings{Bucket: "certs"}
	cloud.Put(purgetest.FourFiles()[0])
	if state := c.purge(user, cloud, plain); state != purge.Failed {
		t.Fatalf("got %s", state)
	}
	c.run(cli.ExitOK, "requeue", "1", "--execute", "--accept-missing", "--requested-by", "the office")
	c.db.Exec(t, "UPDATE "+c.db.Ledger+".events SET at = at - INTERVAL 1 HOUR")
	if state := c.purge(user, cloud, plain); state != purge.Done {
		t.Fatalf("got %s", state)
	}
	file, made := c.certificate(cli.ExitOK, user)
	var event certificate.Reservation
	for _, e := range made.Requests[0].Timeline {
		if e.Kind == "accepted_missing" {
			event.AcceptedBy, event.AcceptedAt = e.Actor, e.At
		}
	}
	if len(made.Reservations) == 0 {
		t.Fatalf("got %+v", made)
	}
	r := made.Reservations[0]
	if r.AcceptedBy != event.AcceptedBy || !r.AcceptedAt.Equal(event.AcceptedAt) || r.RequestID != 1 || r.Bucket != "certs" ||
		!strings.HasSuffix(r.Prefix, "/") || !strings.HasSuffix(r.AcceptedBy, " for the office") {
		t.Errorf("got %+v, want %+v", r, event)
	}
	text, _ := c.run(cli.ExitOK, "certificate", strconv.Itoa(user))
	page, _ := c.run(cli.ExitOK, "certificate", "--from", file, "-o", "html")
	for _, want := range []string{
		"Certificate of erasure, with a reservation", "What is under reservation", "what was found is erased", "that held none, and may be elsewhere",
		"accepted by cli, ",
	} {
		if !strings.Contains(text, want) || !strings.Contains(page, want) {
			t.Errorf("no %q in\n%s\n%s", want, text, page)
		}
	}
	if !strings.Contains(page, `<body class="reserved">`) || strings.Contains(text+page, "nothing is left") {
		t.Errorf("got\n%s\n%s", text, page)
	}
	c.run(cli.ExitOK, "verify", file)
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(written), `"what":"missing_files"`, `"what":"nothing"`, 1)
	if out, _ := c.run(cli.ExitNotDone, "verify", c.file("changed.json", changed)); !strings.Contains(out, "about what is reserved") {
		t.Errorf("got %q", out)
	}
}

// TestCertificateNamesTheInstallation: in every form, if it has a name.
func TestCertificateNamesTheInstallation(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	user := c.purged("alice", purge.BucketSettings{Bucket: "certs"})
	if _, made := c.certificate(cli.ExitOK, user); made.Installation != "" {
		t.Errorf("got %q", made.Installation)
	}
	const title = "example.org production"
	c.environ = append(c.environ, "CERTPURGE_ADMIN_TITLE="+title)
	file, made := c.certificate(cli.ExitOK, user)
	text, _ := c.run(cli.ExitOK, "report", "--user", strconv.Itoa(user), "-o", "text")
	page, _ := c.run(cli.ExitOK, "certificate", "--from", file, "-o", "html")
	if made.Installation != title || !strings.Contains(text, "\n"+title+"\n") ||
		!strings.Contains(page, "<dt>Installation</dt><dd>"+title+"</dd>") {
		t.Errorf("got %+v\n%s\n%s", made, text, page)
	}
	c.run(cli.ExitOK, "verify", file)
}

// TestVerifySaysEachChangeOnce: one changed column is one trouble, and says how the ledger tells it.
func TestVerifySaysEachChangeOnce(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	user := c.purged("alice", purge.BucketSettings{Bucket: "certs"})
	c.run(cli.ExitOK, "enqueue", strconv.Itoa(user), "--ticket", "PRIV-8") // an event
	c.anchor()
	file, _ := c.certificate(cli.ExitOK, user)
	update := "UPDATE " + c.db.Ledger + "."
	for _, table := range []string{"events", "requests"} {
		c.db.Exec(t, "CREATE TABLE "+c.db.Ledger+".kept_"+table+" AS SELECT * FROM "+c.db.Ledger+"."+table)
	}
	for change, want := range map[string]string{
		"events SET actor = 'eve'":                "submitted again by eve, ticket PRIV-8; nothing changed\n",
		"events SET ticket = 'X'":                 "ticket X; nothing changed\n",
		"requests SET objects_erased = 3":         "another state, reason, end or other figures",
		"requests SET finished_at = '2020-01-01'": "another state, reason, end or other figures",
		"requests SET ticket = 'X'":               "in the ledger, request 1",
		"requests SET requested_by = 'eve'":       "in the ledger, request 1",
	} {
		c.db.Exec(t, update+change)
		out, said := c.run(cli.ExitNotDone, "verify", file)
		if !strings.Contains(out, want) || !strings.Contains(said, "does not hold: 1 trouble") {
			t.Errorf("%s: got %q and %q", change, out, said)
		}
		c.db.Exec(t, update+"events e JOIN "+c.db.Ledger+".kept_events k USING (id) SET e.actor = k.actor, e.ticket = k.ticket")
		c.db.Exec(t, update+"requests r JOIN "+c.db.Ledger+".kept_requests k USING (id) SET r.ticket = k.ticket, "+
			"r.requested_by = k.requested_by, r.finished_at = k.finished_at, r.objects_erased = k.objects_erased")
		c.run(cli.ExitOK, "verify", file)
	}
}

// TestVerifyByAnotherKey: the signature fits, though not the key of the caller.
func TestVerifyByAnotherKey(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	key, _ := newKey(t)
	_, other := newKey(t)
	user := c.purged("alice", purge.BucketSettings{Bucket: "certs"})
	unsigned, _ := c.certificate(cli.ExitOK, user)
	c.signWith(key)
	file, made := c.certificate(cli.ExitOK, user)
	want := "signed with the key " + made.Signature.KeyID + ", which is not the given one\n"
	if out, _ := c.run(cli.ExitNotDone, "verify", file, "--key", other); !strings.Contains(out, want) {
		t.Errorf("got %q", out)
	}
	if out, _ := c.run(cli.ExitNotDone, "verify", unsigned, "--key", other); !strings.Contains(out, "\nnot signed\n") {
		t.Errorf("got %q", out)
	}
}
