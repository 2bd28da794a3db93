package config

import "time"

// JWT says which JSON Web Tokens "enqueuer serve" accepts: those that the LMS signs for the retirement driver. It is
// off until a secret or a key set is given. A caller with such a token has every right, so only the retirement service
// user and superusers are accepted.
type JWT struct {
	// HS256Secret is the secret that the LMS signs tokens with (JWT_AUTH's JWT_SECRET_KEY; Tutor's OPENEDX_SECRET_KEY). A
	// person who has it can make tokens. It must have at least 32 bytes, as RFC 7518 asks; see accept_short_secret. Empty
	// means that no HS256 token is accepted.
	HS256Secret Secret `yaml:"hs256_secret"`

	// HS256SecretFile is a file that holds the secret instead, such as a mounted Kubernetes or Docker secret. It is read
	// once, at the start, and a newline at its end is dropped. Set either this or the secret, not both.
	HS256SecretFile string `yaml:"hs256_secret_file"`

	// AcceptShortSecret lets the secret have as few as 16 bytes. Tutor makes one of 24 random letters and digits, which
	// cannot be guessed in spite of its length; a chosen word can be guessed from a single token.
	AcceptShortSecret bool `yaml:"accept_short_secret"`

	// JWKSURL is where the public keys of RS256 and RS512 tokens are fetched from, as a JSON Web Key Set. Redirects are
	// not followed. A server that answers in its place can make tokens, so use an http:// address only in a trusted
	// network.
	JWKSURL string `yaml:"jwks_url" validate:"omitempty,endpoint_url"`

	// JWKSFile is a file with the key set instead: the LMS's JWT_PUBLIC_SIGNING_JWK_SET. Set either this or the URL, not
	// both.
	JWKSFile string `yaml:"jwks_file"`

	// JWKSRefresh is how often the key set is read again, from either place. While that fails, the old keys stay in use. A
	// token with an unknown key triggers a read at once, but not more than once a minute, and is answered 503 until then.
	// So a longer time only means that a revoked key is accepted for longer.
	JWKSRefresh time.Duration `yaml:"jwks_refresh" validate:"between=1m 24h"`

	// Audiences are the accepted values of a token's aud; one of the token's must be among them. It is the LMS's
	// JWT_AUDIENCE: openedx with Tutor. At least one is needed as soon as tokens are accepted: without it, a token that
	// was made for another service would do.
	Audiences []string `yaml:"audiences" validate:"dive,required"`

	// Issuers are the accepted values of a token's iss. It is the LMS's JWT_ISSUER: https://LMS_HOST/oauth2 with Tutor. At
	// least one is needed as soon as tokens are accepted.
	Issuers []string `yaml:"issuers" validate:"dive,required"`

	// ServiceUser is the name of the user that the retirement driver works as: the LMS's
	// RETIREMENT_SERVICE_WORKER_USERNAME. Tokens of other users are refused, unless they say that their user is a
	// superuser, are not restricted (is_restricted), and have the scopes read and write.
	ServiceUser string `yaml:"service_user" validate:"required"`

	// MaxLifetime is how far in the future the end of a token (its exp) may be; one that is valid for longer is refused,
	// so that a stolen token is not good for years. It must not be less than the LMS's JWT_ACCESS_TOKEN_EXPIRE_SECONDS, an
	// hour by default: the driver takes one token when it starts.
	MaxLifetime time.Duration `yaml:"max_lifetime" validate:"between=1m 8760h"`

	// Rate is the number of requests a second that callers with these tokens may make, in the long run: the service user,
	// and all superusers together. Requests beyond it are answered 429 under /v1, and 503 on the driver's paths: the
	// driver repeats a request after 503, and takes 429 for final.
	Rate int `yaml:"rate" validate:"between=1 10000"`

	// Burst is the number of requests that may come at once after a pause.
	Burst int `yaml:"burst" validate:"between=1 100000"`
}

// Token is one caller of "enqueuer serve" that shows a token of its own, made by "enqueuer token". The list is empty by
// default. The file holds only the SHA-256 of a token, so reading the file gives no access.
type Token struct {
	// Name is the caller's name in logs and in the ledger. It must be unique. Idempotency keys belong to it: under another
	// name, the same key is another key.
	Name string `yaml:"name" validate:"required,location_name"`

	// SHA256 is the SHA-256 of the token in hexadecimal, as "enqueuer token" prints it. A token has at least 32 random
	// bytes, so it cannot be found from its hash; shorter tokens are refused.
	SHA256 string `yaml:"sha256" validate:"token_sha256"`

	// Rights are what the caller may do: enqueue (submit requests), read (requests and evidence), requeue (run ended
	// requests again). Give no more than needed: a purge cannot be taken back.
	Rights []string `yaml:"rights" validate:"min=1,dive,oneof=enqueue read requeue"`

	// Rate is the number of requests a second that the caller may make in the long run; requests beyond it are answered
	// 429, or 503 on the driver's paths.
	Rate int `yaml:"rate" validate:"between=1 10000"`

	// Burst is the number of requests that may come at once after a pause.
	Burst int `yaml:"burst" validate:"between=1 100000"`
}

// DefaultToken returns what an entry of the list of tokens starts from.
func DefaultToken() Token {
	return Token{Rate: 100, Burst: 200}
}
