package main

import (
	"sync"
	"testing"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
)

// TestAThousandUsersAndOneUserAThousandTimes asks on real servers, for all of them at the same time.
func TestAThousandUsersAndOneUserAThousandTimes(t *testing.T) {
	t.Parallel()
	const many, popular = 1000, purge.UserID(5000)
	c := newShell(t)
	rdb := c.redis()
	g := purge.NewGather(purge.Intake{
		Requests: c.store,
		Tasks:    queue.NewClient(rdb, queue.Live, config.Tasks{}),
	})
	answers := make([]purge.Accepted, 2*many)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for n := range answers {
		user := popular
		if n%2 == 0 {
			user = purge.UserID(1 + n/2)
		}
		wg.Go(func() {
			<-start
			accepted, err := g.Accept(t.Context(), []purge.Submission{{
				User: user, Key: purge.DefaultKey(user),
				Source: purge.SourceAPI,
			}})
			if err != nil || len(accepted) != 1 || accepted[0].User != user {
				t.Errorf("user %d: got %v, %v", user, accepted, err)
				return
			}
			answers[n] = accepted[0]
		})
	}
	close(start)
	wg.Wait()
	fresh, found := map[purge.UserID]int{}, map[purge.Found]int{}
	for _, a := range answers {
		found[a.Found]++
		if a.Found == purge.FoundNew {
			fresh[a.User]++
		}
	}
	if len(fresh) != many+1 || found[purge.FoundNew] != many+1 || found["queued"] != many-1 {
		t.Errorf("got %d new users in all answers, and the answers %v; want %d, each once, and the others queued", len(fresh),
			found, many+1)
	}
	rows := 0
	if err := c.store.EachRequest(t.Context(), mysql.Filter{},
		func(page []mysql.Request) error { rows += len(page); return nil }); err != nil || rows != many+1 {
		t.Errorf("got %d requests in the ledger, %v; want %d", rows, err, many+1)
	}
	if d := c.depth(); d.Pending != many+1 {
		t.Errorf("got %+v, want %d tasks", d, many+1)
	}
}
