package auth_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestPageExplainsEveryCode(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/authentication.md")
	if err != nil {
		t.Fatal(err)
	}
	for code, status := range statuses {
		if row := fmt.Sprintf("| %d | `%s` |", status, code); strings.Contains(string(page), row) == (code == tomorrow) {
			t.Errorf("docs/authentication.md has the wrong number of rows %s", row)
		}
	}
	if got, want := strings.Count(string(page), "\n| 4")+strings.Count(string(page), "\n| 5"),
		len(statuses)-1; got != want {
		t.Errorf("docs/authentication.md explains %d codes, want %d", got, want)
	}
}
