package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
)

// Client reads the files and returns what a client of the server needs; nil without any of the keys. path is that of
// the section, for errors.
func (t TLS) Client(path string) (*tls.Config, error) {
	if t == (TLS{}) {
		return nil, nil //nolint:nilnil // as crypto/tls and both clients have it: no configuration, no encryption
	}
	client := &tls.Config{ServerName: t.ServerName, MinVersion: tls.VersionTLS12}
	if t.CAFile != "" {
		content, err := readLimited(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("%s.ca_file: %w", path, err)
		}
		client.RootCAs = x509.NewCertPool()
		if !client.RootCAs.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("%s.ca_file: holds no certificate in PEM form", path)
		}
	}
	if t.CertificateFile == "" {
		return client, nil
	}
	load := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(t.CertificateFile, t.KeyFile)
		return &pair, err
	}
	if _, err := load(nil); err != nil {
		return nil, fmt.Errorf("%s.certificate_file and %s.key_file: %w", path, path, err)
	}
	client.GetClientCertificate = load
	return client, nil
}
