package login

import (
	"errors"
	"fmt"

	"golang.org/x/crypto/bcrypt"
)

const (
	cost        = 12 // of new hashes: about a fifth of a second
	minPassword = 12
)

// Hash makes the hash of a password: at least 12 characters, at most the 72 bytes that bcrypt checks.
func Hash(password string) (string, error) { return hashAt(password, cost) }

func hashAt(password string, cost int) (string, error) {
	if len([]rune(password)) < minPassword {
		return "", fmt.Errorf("the password is too short: expected at least %d characters", minPassword)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if errors.Is(err, bcrypt.ErrPasswordTooLong) {
		return "", errors.New("the password is too long: expected at most 72 bytes")
	}
	if err != nil {
		return "", fmt.Errorf("hashing the password: %w", err)
	}
	return string(hash), nil
}

// check compares a password with a user's hash. For a user that does not exist it compares with a hash of the same cost
// that no password has, so that both take the same time.
func (u Users) check(compare func(hash, password []byte) error, name, password string) (Right, bool) {
	found, known := u.named[name]
	hash := found.hash
	if !known {
		hash = unknownHash(u.cost)
	}
	if err := compare(hash, []byte(password)); err != nil || !known {
		return None, false
	}
	return found.right, true
}

// unknownHash is a well-formed hash whose last part is no hash of anything that could be found.
func unknownHash(cost int) []byte {
	return fmt.Appendf(nil, "$2a$%02d$%s", cost, "......................0000000000000000000000000000000")
}
