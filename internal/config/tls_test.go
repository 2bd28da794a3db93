package config_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

func TestTLSFilesThatCannotBeUsedAreNamed(t *testing.T) {
	t.Parallel()
	authority := sandboxtest.NewAuthority(t)
	certificate, key := authority.Issue(t, "client")
	_, other := authority.Issue(t, "other")
	for name, tc := range map[string]struct {
		tls  config.TLS
		want string // part of the error; empty for none
	}{
		"all": {config.TLS{
			CAFile: authority.File, CertificateFile: certificate, KeyFile: key,
			ServerName: "a",
		}, ""},
		"a name only":               {config.TLS{ServerName: "a"}, ""},
		"no such authority":         {config.TLS{CAFile: "no-such-file"}, "mysql.tls.ca_file: "},
		"an authority that is none": {config.TLS{CAFile: key}, "mysql.tls.ca_file: holds no certificate in PEM form"},
		"no such certificate": {
			config.TLS{CertificateFile: "no-such-file", KeyFile: key},
			"mysql.tls.certificate_file and mysql.tls.key_file: ",
		},
		"another's key": {
			config.TLS{CertificateFile: certificate, KeyFile: other},
			"mysql.tls.certificate_file and mysql.tls.key_file: ",
		},
	} {
		got, err := tc.tls.Client("mysql.tls")
		if tc.want == "" && (err != nil || got == nil || got.ServerName != "a") || tc.want != "" && (err == nil ||
			!strings.HasPrefix(err.Error(), tc.want)) {
			t.Errorf("%s: got %+v, %v; want %q", name, got, err, tc.want)
		}
	}
	if got, err := (config.TLS{}).Client("mysql.tls"); got != nil || err != nil {
		t.Errorf("nothing is set: got %v, %v", got, err)
	}
}

// TestARenewedCertificateIsShownAtOnce: the next connection shows what the files hold then.
func TestARenewedCertificateIsShownAtOnce(t *testing.T) {
	t.Parallel()
	authority := sandboxtest.NewAuthority(t)
	certificate, key := authority.Issue(t, "client")
	client, err := config.TLS{CertificateFile: certificate, KeyFile: key}.Client("redis.tls")
	if err != nil {
		t.Fatal(err)
	}
	before, err := client.GetClientCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	newCertificate, newKey := authority.Issue(t, "renewed")
	for to, from := range map[string]string{certificate: newCertificate, key: newKey} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	after, err := client.GetClientCertificate(nil)
	if err != nil || bytes.Equal(before.Certificate[0], after.Certificate[0]) {
		t.Errorf("got the old certificate, %v", err)
	}
}
