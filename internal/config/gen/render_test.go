package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestPageIsUpToDate(t *testing.T) {
	t.Parallel()
	want, err := render("..")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/configuration.md is not what the comments say: run go generate ./internal/config")
	}
}

func TestCommentsMustStartWithTheirName(t *testing.T) {
	t.Parallel()
	found := comments{"GCS.MaxTries": "Tries are good.", "GCS.CallTimeout": "CallTimeout bounds a call."}
	if got, err := found.about("GCS.MaxTries", "max_tries"); err == nil {
		t.Errorf("got %q, want a comment without its name to be refused", got)
	}
	if got, err := found.about("GCS.Missing", "missing"); err == nil {
		t.Errorf("got %q, want a missing comment to be refused", got)
	}
	want := "`call_timeout` bounds a call."
	if got, err := found.about("GCS.CallTimeout", "call_timeout"); err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func TestRunWritesOneFile(t *testing.T) {
	t.Parallel()
	if err := run(nil); err == nil {
		t.Error("got no error without a file to write")
	}
	// The working directory of a test is the package's own, which has no struct of the configuration.
	if err := run([]string{filepath.Join(t.TempDir(), "page.md")}); err == nil {
		t.Error("got no error where there are no comments")
	}
}
