// Package auth says who sends an HTTP request and what they may do: the retirement driver or a superuser, by a JSON Web
// Token that the LMS has signed, or a program, by a static bearer token of which the configuration holds the hash.
//
//	Authorization: JWT <JSON Web Token>      what the retirement driver sends
//	Authorization: Bearer <either of the two>
//
// A handler asks in this order:
//
//	caller, err := authenticator.Authenticate(r)  // 401, 403 or 503 by (*Error).Status; with (*Error).Challenge
//	err = caller.Require(auth.Enqueue)            // 403
//	wait := limiter.Take(caller)                  // 429, or 503 for the driver; to be tried again after that
//
// # What a JSON Web Token must be
//
//  1. One compact token of at most 8 KiB, each part in the only base64url form of its bytes.
//  2. Signed with HS256 and the shared secret, or with RS256 or RS512 and a key of the key set. The two kinds of keys
//     are kept apart: an HS256 signature is never checked with a public key, even if the token says so.
//  3. In time (exp and iat are required, nbf is obeyed, 30 seconds of leeway), for one of our audiences, from one of
//     our issuers.
//  4. Of the configured service user, or of one whose superuser claim is true. Every other user is authenticated, but
//     not authorized.
//
// # What is returned and kept
//
// An [Error] names what is wrong by a stable code and never repeats a piece of the token. The user name of a token is
// compared and forgotten: a [Caller] has the name that the configuration gave it.
package auth
