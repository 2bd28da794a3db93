package login

import (
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// Entries whose hashes cost as little as they may; made beforehand, because making one takes seconds under the race
// detector.
const (
	alice = "alice:view:$2a$10$ZBxTYAeQxR9xvahf42AhbeAFW9bhS086Cg9dgZQ3YHIrftsDtEp2q" // of: alice's long password
	// of: bob's long password; as htpasswd writes it
	bob = "bob:operate:$2y$10$ZMBQ6BsUMN9KwlH4.8z/KuHWHU.595byGpW99AZRCAI6py0yO7/We"
)

func parse(t *testing.T, entries ...string) Users {
	t.Helper()
	users, err := ParseUsers(strings.Join(entries, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return users
}

func TestUsersAreReadWithTheirRights(t *testing.T) {
	t.Parallel()
	users := parse(t, alice, bob)
	for _, tc := range []struct {
		name, password string
		right          Right
		ok             bool
	}{
		{"alice", "alice's long password", View, true},
		{"bob", "bob's long password", Operate, true},
		{"alice", "bob's long password", None, false},
		{"carol", "alice's long password", None, false},
	} {
		if right, ok := users.check(bcrypt.CompareHashAndPassword, tc.name, tc.password); right != tc.right || ok != tc.ok {
			t.Errorf("%s: got %v, %v, want %v, %v", tc.name, right, ok, tc.right, tc.ok)
		}
	}
	if parse(t).Empty() == users.Empty() {
		t.Error("an unknown user and a known one are the same")
	}
}

func TestUnknownUserCostsAsMuchAsAWrongPassword(t *testing.T) {
	t.Parallel()
	users := parse(t, alice)
	for _, name := range []string{"alice", "carol"} {
		var costs []int
		_, ok := users.check(func(hash, _ []byte) error {
			cost, err := bcrypt.Cost(hash)
			costs = append(costs, cost)
			if err != nil {
				t.Errorf("%s is compared with what is no hash: %v", name, err)
			}
			return bcrypt.ErrMismatchedHashAndPassword
		}, name, "wrong")
		if ok || len(costs) != 1 || costs[0] != MinCost {
			t.Errorf("%s: got %v after comparisons of cost %v, want one of cost %d", name, ok, costs, MinCost)
		}
	}
	// The hash for unknown names is one that bcrypt works through: it fails for the password, not for its form.
	if err := bcrypt.CompareHashAndPassword(unknownHash(MinCost),
		[]byte("x")); err != bcrypt.ErrMismatchedHashAndPassword { //nolint:errorlint // the very value
		t.Errorf("got %v", err)
	}
}

func TestHash(t *testing.T) {
	t.Parallel()
	hash, err := hashAt("correct horse battery", MinCost)
	if err != nil {
		t.Fatal(err)
	}
	users := parse(t, "alice:operate:"+hash)
	if right, ok := users.check(bcrypt.CompareHashAndPassword, "alice", "correct horse battery"); right != Operate || !ok {
		t.Errorf("got %v, %v", right, ok)
	}
	for password, want := range map[string]string{"elevenchars": "too short", strings.Repeat("é", 37): "too long"} {
		if _, err := Hash(password); err == nil || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), password) {
			t.Errorf("%q: got %v", password, err)
		}
	}
}

func FuzzParseUsers(f *testing.F) {
	f.Add("alice:view:$2a$10$......................0000000000000000000000000000000\nbob:operate:x")
	f.Add("a:b")
	f.Fuzz(func(t *testing.T, text string) {
		users, err := ParseUsers(text)
		if err != nil {
			for word := range strings.FieldsSeq(text) {
				if len(word) > 12 && strings.Contains(err.Error(), word) {
					t.Errorf("the error shows %q", word)
				}
			}
			return
		}
		for name, u := range users.named {
			if !ValidName(name) || u.right == None || users.cost < MinCost {
				t.Errorf("accepted %q", text)
			}
		}
	})
}
