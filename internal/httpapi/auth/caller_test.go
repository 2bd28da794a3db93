package auth_test

import (
	"testing"

	"github.com/certpurge/certpurge/internal/httpapi/auth"
)

func TestCallersMayDoWhatTheirRightsSay(t *testing.T) {
	t.Parallel()
	all := []auth.Rights{auth.Enqueue, auth.Read, auth.Requeue}
	for name, test := range map[string]struct {
		rights auth.Rights
		may    map[auth.Rights]bool
	}{
		"nothing": {0, nil},
		"read":    {auth.Read, map[auth.Rights]bool{auth.Read: true}},
		"enqueue,requeue": {
			auth.Requeue | auth.Enqueue,
			map[auth.Rights]bool{auth.Enqueue: true, auth.Requeue: true},
		},
		"enqueue,read,requeue": {
			auth.All, map[auth.Rights]bool{auth.Enqueue: true, auth.Read: true, auth.Requeue: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			caller := auth.Caller{Name: "portal", Rights: test.rights}
			for _, right := range all {
				err := caller.Require(right)
				if (err == nil) != test.may[right] || err != nil && codeOf(t, err) != auth.RightMissing {
					t.Errorf("%s: got %v, want it to be allowed: %t", right, err, test.may[right])
				}
			}
			if got := test.rights.String(); got != name && test.rights != 0 {
				t.Errorf("got %q, want %q", got, name)
			}
			if test.rights.Has(0) {
				t.Error("no right is in every set, want it in none")
			}
		})
	}
}

func TestRightsHaveTheNamesOfTheConfiguration(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]auth.Rights{
		"enqueue": auth.Enqueue, "read": auth.Read, "requeue": auth.Requeue,
		"Read": 0, "": 0, "all": 0,
	} {
		if got, ok := auth.ParseRight(name); got != want || ok != (want != 0) {
			t.Errorf("%q: got %v, %t, want %v", name, got, ok, want)
		}
	}
}
