package config

import (
	"encoding/base64"
	"errors"
	"net/url"
	"strings"

	"github.com/certpurge/certpurge/internal/login"
)

// How many bytes a key of a webhook may have: https://www.standardwebhooks.com, "Signature scheme".
const (
	minWebhookKey = 24
	maxWebhookKey = 64
)

// Keys returns what the events are signed with, the newest first.
func (n *Notify) Keys() ([][]byte, error) { return parseWebhookKeys(n.Secret.Reveal()) }

// parseWebhookKeys reads secrets with blanks between them. Its errors hold none.
func parseWebhookKeys(secrets string) (keys [][]byte, err error) {
	for secret := range strings.FieldsSeq(secrets) {
		text, ok := strings.CutPrefix(secret, "whsec_")
		key, err := base64.StdEncoding.DecodeString(text)
		if !ok || err != nil || len(key) < minWebhookKey || len(key) > maxWebhookKey {
			return nil, errors.New("not the secret of a webhook")
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("no secret of a webhook")
	}
	return keys, nil
}

// isWebhookURL accepts plain HTTP only for this machine: what is sent holds ids of users.
func isWebhookURL(s string) bool {
	u, ok := plainURL(s)
	return ok && (u.Scheme == "https" || u.Scheme == "http" && login.IsLocal(u.Hostname()))
}

// isURIReference accepts what the source of a CloudEvent may be.
func isURIReference(s string) bool {
	_, err := url.Parse(s)
	return err == nil && s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// checkNotify reports a webhook without what signs it, and files for TLS where there is none.
func checkNotify(notify Notify, report func(path, sentence string)) {
	if notify.URL == "" {
		return
	}
	if notify.Secret.IsZero() {
		report("notify.secret", "must be set with notify.url: the receiver could not tell who sends")
	}
	checkPair("notify.tls.", notify.TLS.CertificateFile, notify.TLS.KeyFile, report)
	if u, ok := plainURL(notify.URL); ok && u.Scheme == "http" && notify.TLS != (TLS{}) {
		report("notify.url", "must start with https while keys of notify.tls are set, or the connection would not be "+
			"encrypted")
	}
}
