package config_test

import (
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/config"
)

func TestAcceptedTokensNeedAnAudienceAndAnIssuer(t *testing.T) {
	t.Parallel()
	for key, value := range map[string]string{
		"hs256_secret": strings.Repeat("s", 32), "jwks_url": "https://lms.example/jwks",
		"jwks_file": "/etc/certpurge/jwks.json",
	} {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			got := loadEnqueuer(t, "jwt:\n  "+key+": "+value+"\n", dsnVariable)
			assertProblems(t, got,
				"enqueuer.yaml:1: jwt.audiences: must have at least 1 entry when tokens are accepted: a token made for another "+
					"service would do",
				"enqueuer.yaml:1: jwt.issuers: must have at least 1 entry when tokens are accepted")
			got = loadEnqueuer(t, "jwt:\n  "+key+": "+value+"\n  audiences: [openedx]\n  issuers: "+
				"[https://lms.example/oauth2]\n", dsnVariable)
			assertProblems(t, got)
		})
	}
}

func TestShortSecretsAreAcceptedOnPurposeOnly(t *testing.T) {
	t.Parallel()
	const rest = "  audiences: [openedx]\n  issuers: [https://lms.example/oauth2]\n"
	const hint = "; jwt.accept_short_secret lowers that to 16, for secrets that are random"
	for name, test := range map[string]struct {
		length  int
		accept  bool
		problem string
	}{
		"32":                    {32, false, ""},
		"31":                    {31, false, "enqueuer.yaml:2: jwt.hs256_secret: must have at least 32 bytes, has 31" + hint},
		"24, as Tutor makes it": {24, true, ""},
		"16 on purpose":         {16, true, ""},
		"15 on purpose":         {15, true, "enqueuer.yaml:2: jwt.hs256_secret: must have at least 16 bytes, has 15"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := "jwt:\n  hs256_secret: " + strings.Repeat("s", test.length) + "\n" + rest
			if test.accept {
				file += "  accept_short_secret: true\n"
			}
			var want []string
			if test.problem != "" {
				want = []string{test.problem}
			}
			assertProblems(t, loadEnqueuer(t, file, dsnVariable), want...)
		})
	}
}

func TestHS256SecretComesFromItsFileToo(t *testing.T) {
	t.Parallel()
	secret := strings.Repeat("hunter2-", 4)
	path := write(t, "enqueuer.yaml", "jwt:\n  audiences: [a]\n  issuers: [b]\n  hs256_secret_file: "+
		write(t, "secret", secret+"\n")+"\n")
	cfg, err := config.LoadEnqueuer(path, []string{dsnVariable})
	if err != nil || cfg.JWT.HS256Secret.Reveal() != secret {
		t.Errorf("got %q, %v, want the secret of the file", cfg.JWT.HS256Secret.Reveal(), err)
	}
	_, err = config.LoadEnqueuer(path, []string{dsnVariable, "CERTPURGE_JWT_HS256_SECRET=" + secret})
	assertProblems(t, problems(t, err, path),
		"CERTPURGE_JWT_HS256_SECRET: jwt.hs256_secret: is set together with jwt.hs256_secret_file; keep one of them")
}

func TestKeySetComesFromOnePlace(t *testing.T) {
	t.Parallel()
	got := loadEnqueuer(t, "jwt: {jwks_url: https://a/b, jwks_file: c, audiences: [a], issuers: [b]}\n", dsnVariable)
	assertProblems(t, got, "enqueuer.yaml:1: jwt.jwks_file: must be empty with jwt.jwks_url; keep one of them")
}

func TestTokensMustDiffer(t *testing.T) {
	t.Parallel()
	ones, twos := strings.Repeat("1", 64), strings.Repeat("2", 64)
	got := loadEnqueuer(t, `
tokens:
  - {name: portal, sha256: "`+ones+`", rights: [read]}
  - {name: portal, sha256: "`+twos+`", rights: [read]}
  - {name: other, sha256: "`+ones+`", rights: [enqueue]}
`, dsnVariable)
	assertProblems(t, got,
		`enqueuer.yaml:4: tokens[1].name: must be unique, is "portal" like tokens[0].name`,
		`enqueuer.yaml:5: tokens[2].sha256: must be unique, is "`+ones+`" like tokens[0].sha256`)
}

func TestEntriesStartFromTheDefaultRate(t *testing.T) {
	t.Parallel()
	path := write(t, "enqueuer.yaml", `tokens: [{name: portal, sha256: "`+strings.Repeat("1", 64)+
		`", rights: [read], burst: 7}]`)
	cfg, err := config.LoadEnqueuer(path, []string{dsnVariable})
	if err != nil || cfg.Tokens[0].Rate != 100 || cfg.Tokens[0].Burst != 7 {
		t.Errorf("got %+v, %v, want the default rate and the burst of the file", cfg.Tokens, err)
	}
}

func TestWhetherAnybodyCanBeLetIn(t *testing.T) {
	t.Parallel()
	const claims = "  audiences: [a]\n  issuers: [b]\n"
	for name, test := range map[string]struct {
		file string
		want bool
	}{
		"nothing": {"", false},
		"secret":  {"jwt:\n  hs256_secret: " + strings.Repeat("s", 32) + "\n" + claims, true},
		"URL":     {"jwt:\n  jwks_url: https://a/b\n" + claims, true},
		"file":    {"jwt:\n  jwks_file: a\n" + claims, true},
		"token":   {`tokens: [{name: a, sha256: "` + strings.Repeat("1", 64) + `", rights: [read]}]`, true},
		"claims":  {"jwt:\n" + claims, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, err := config.LoadEnqueuer(write(t, "enqueuer.yaml", test.file), []string{dsnVariable})
			if err != nil || cfg.AcceptsCallers() != test.want {
				t.Errorf("got %t, %v, want %t", cfg.AcceptsCallers(), err, test.want)
			}
		})
	}
}

func TestEntriesCanBeCheckedAlone(t *testing.T) {
	t.Parallel()
	token := config.DefaultToken()
	token.Name, token.SHA256, token.Rights = "Portal", strings.Repeat("1", 64), []string{"read"}
	assertProblems(t, problems(t, token.Check(), ""), `name: must be 1 to 32 of a-z, 0-9 and -, is "Portal"`)
	token.Name = "portal"
	assertProblems(t, problems(t, token.Check(), ""))
}

func TestPublicKeysAreNoSecret(t *testing.T) {
	t.Parallel()
	file := "jwt:\n  audiences: [a]\n  issuers: [b]\n  hs256_secret: |\n    -----BEGIN PUBLIC KEY-----\n    " +
		"MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIB\n    -----END PUBLIC KEY-----\n"
	assertProblems(t, loadEnqueuer(t, file, dsnVariable),
		"enqueuer.yaml:4: jwt.hs256_secret: must not be a key in PEM; public keys belong into jwt.jwks_file")
}
