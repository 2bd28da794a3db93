package login

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// Right is what a visitor may do. Each includes the one before.
type Right int

// The rights.
const (
	None    Right = iota
	View          // check everything
	Operate       // change the queues too
)

// String returns the right's name in the configuration.
func (r Right) String() string {
	switch r {
	case View:
		return "view"
	case Operate:
		return "operate"
	default:
		return "none"
	}
}

// Visitor is who is behind a request.
type Visitor struct {
	Name  string // empty where no login is requested
	Right Right
}

// user is a user with a password.
type user struct {
	right Right
	hash  []byte
}

// Users are those who have a password. The zero value has none.
type Users struct {
	named map[string]user
	cost  int // of all hashes
}

// nameForm keeps names free of what could be taken for something else in a log or in the form itself.
var nameForm = regexp.MustCompile(`^[0-9A-Za-z._@-]{1,64}$`)

// What a hash may cost, in bcrypt's own unit: twice the time for one more. Above the most, a login takes seconds.
const (
	MinCost = 10
	MaxCost = 15
)

// ParseUsers reads users from a text of entries name:right:hash with blanks or line ends between them. right is view or
// operate, hash is what Hash or `htpasswd -nB` prints. Its errors never show an entry, which may be a slip with a
// password in it.
func ParseUsers(text string) (Users, error) {
	users := Users{named: map[string]user{}}
	for i, entry := range strings.Fields(text) {
		name, rest, _ := strings.Cut(entry, ":")
		rightName, hash, _ := strings.Cut(rest, ":")
		right := map[string]Right{View.String(): View, Operate.String(): Operate}[rightName]
		cost, err := bcrypt.Cost([]byte(hash))
		switch {
		case !ValidName(name) || right == None || err != nil:
			return Users{}, fmt.Errorf("entry %d is not of the form name:view:HASH or name:operate:HASH with a bcrypt hash", i+1)
		case cost < MinCost || cost > MaxCost:
			return Users{}, fmt.Errorf("the hash of entry %d has cost %d, expected %d to %d", i+1, cost, MinCost, MaxCost)
		case users.cost != 0 && users.cost != cost:
			return Users{}, errors.New("the hashes differ in cost, so that the time of an answer would tell one user " +
				"from another")
		}
		if _, twice := users.named[name]; twice {
			return Users{}, fmt.Errorf("entry %d has a name that another entry has too", i+1)
		}
		users.named[name], users.cost = user{right: right, hash: []byte(hash)}, cost
	}
	return users, nil
}

// ValidName reports whether a user can have this name.
func ValidName(name string) bool { return nameForm.MatchString(name) }

// Empty reports whether no user has a password.
func (u Users) Empty() bool { return len(u.named) == 0 }

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
