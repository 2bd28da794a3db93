package queue_test

import (
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// TestExplainReadsWhatRedisAnswers has the server answer what it says in situations that are over too soon to be asked
// in.
func TestExplainReadsWhatRedisAnswers(t *testing.T) {
	t.Parallel()
	rdb, err := queue.NewRedis(config.Redis{URL: config.NewSecret(sandboxtest.Redis(t))})
	if err != nil {
		t.Fatal(err)
	}
	defer rdb.Close()
	for answer, want := range map[string]string{
		"LOADING Redis is loading the dataset in memory":          "still loading its data",
		"TRYAGAIN Multiple keys request during rehashing of slot": "is moving the queue",
		"ODD something new": "refuses to work: ODD something new",
		"ERR ACL failure in script: No permissions to run the command":    "lacks a right",
		"ERR The user executing the script can't run this command or sub": "lacks a right",
	} {
		err := queue.Explain(rdb.Eval(t.Context(), "return redis.error_reply(ARGV[1])", nil, answer).Err())
		if err == nil || !strings.Contains(err.Error(), want) ||
			(purge.ClassOf(err) == purge.Misconfigured) != strings.Contains(want, "right") {
			t.Errorf("%s: got %v (class %d), want %q", answer, err, purge.ClassOf(err), want)
		}
	}
	if err := queue.Explain(nil); err != nil {
		t.Errorf("got %v of no error", err)
	}
}
