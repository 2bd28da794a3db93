package main

import (
	"log/slog"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/httpapi/auth"
)

// authConfig says in the words of package auth whom the configuration lets in.
func authConfig(cfg config.Enqueuer, log *slog.Logger) auth.Config {
	jwt := cfg.JWT
	letIn := auth.Config{
		JWT: auth.JWTConfig{
			HS256Secret: jwt.HS256Secret, AcceptShortSecret: jwt.AcceptShortSecret, JWKSURL: jwt.JWKSURL, JWKSFile: jwt.JWKSFile,
			JWKSRefresh: jwt.JWKSRefresh, Audiences: jwt.Audiences, Issuers: jwt.Issuers, ServiceUser: jwt.ServiceUser,
			MaxLifetime: jwt.MaxLifetime, Rate: auth.Rate{PerSecond: jwt.Rate, Burst: jwt.Burst},
		},
		Log: log,
	}
	for _, t := range cfg.Tokens {
		var rights auth.Rights
		for _, name := range t.Rights {
			right, _ := auth.ParseRight(name) // the configuration has no others
			rights |= auth.RightsOf(right)
		}
		letIn.Tokens = append(letIn.Tokens, auth.Token{
			Name: t.Name, SHA256: t.SHA256, Rights: rights, Rate: auth.Rate{PerSecond: t.Rate, Burst: t.Burst},
		})
	}
	return letIn
}
