package cli_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certpurge/certpurge/internal/cli"
)

func TestProgressIsShownOnceAnInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var shown strings.Builder
		p := cli.NewProgress(cli.Streams{Err: &shown})
		p.ShowSometimes("too early")
		<-time.After(p.Interval())
		p.ShowSometimes("listed 1,000 objects")
		p.ShowSometimes("too early again")
		if got, want := shown.String(), "listed 1,000 objects\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
