package demo

import (
	"testing"

	"github.com/certpurge/certpurge/internal/sandbox/demo/dataset"
)

// TestEveryEndHasAMeaning: a line of the report without an explanation stops its reader.
func TestEveryEndHasAMeaning(t *testing.T) {
	t.Parallel()
	for _, user := range dataset.New(1, 10).Users {
		if user.Enqueued && meanings[user.Want] == "" {
			t.Errorf("user %d: the end %v has no meaning", user.ID, user.Want)
		}
	}
}
