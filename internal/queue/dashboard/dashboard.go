// Package dashboard serves asynqmon, the dashboard of asynq, below the admin pages.
package dashboard

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/hibiken/asynq"
	"github.com/hibiken/asynqmon"
	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/queue"
)

// Dashboard is asynqmon, made safe to show. It has no login of its own, so one must be in front of it. It refuses what
// would hurt our queues, shows the numbers of our payloads and nothing of others, and its pages load nothing from other
// hosts.
type Dashboard struct {
	root      string
	look, act http.Handler // asynqmon, read-only and not
	redis     redis.UniversalClient
}

// New makes a Dashboard on a connection pool that the caller closes. root is the path at which browsers find it,
// without a slash at its end.
func New(rdb redis.UniversalClient, root string) *Dashboard {
	d := &Dashboard{root: root, redis: rdb}
	options := asynqmon.Options{
		RootPath: root, RedisConnOpt: shared{rdb},
		PayloadFormatter: asynqmon.PayloadFormatterFunc(formatPayload),
		ResultFormatter:  asynqmon.ResultFormatterFunc(formatResult),
	}
	d.act = asynqmon.New(options) // never closed: that would close the pool, which is not ours
	options.ReadOnly = true
	d.look = asynqmon.New(options)
	return d
}

// shared lets the dashboard use an existing pool, and URLs that asynq's own parser does not understand.
type shared struct{ redis.UniversalClient }

// MakeRedisClient implements asynq.RedisConnOpt.
func (s shared) MakeRedisClient() any { return s.UniversalClient }

var _ asynq.RedisConnOpt = shared{}

// Handler serves the dashboard at its root; write says whether the queues may be changed.
func (d *Dashboard) Handler(write bool) http.Handler {
	next := d.look
	if write {
		next = d.act
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, ok := strings.CutPrefix(r.URL.Path, d.root)
		if !ok || path != "" && path[0] != '/' {
			http.NotFound(w, r)
			return
		}
		api, isAPI := strings.CutPrefix(path, "/api/")
		switch {
		case !isAPI && r.Method != http.MethodGet && r.Method != http.MethodHead:
			http.Error(w, "Pages can only be read.", http.StatusMethodNotAllowed)
		case !isAPI:
			d.page(w, r, next, path)
		case r.Method == http.MethodGet && api == "queues":
			d.queues(w, r, next)
		case r.Method == http.MethodGet:
			if refusal := refuseRead(r.URL.Query()); refusal != "" {
				http.Error(w, refusal, http.StatusBadRequest)
				return
			}
			next.ServeHTTP(w, r)
		case !write:
			http.Error(w, "Your login may read, but not change anything.", http.StatusForbidden)
		default:
			if status, refusal := d.refuseWrite(r.Context(), r.Method, api); refusal != "" {
				http.Error(w, refusal, status)
				return
			}
			next.ServeHTTP(w, r)
		}
	})
}

func formatPayload(_ string, data []byte) string { return queue.FormatPayload(data) }

// formatResult shows nothing of a result: our tasks have none.
func formatResult(_ string, data []byte) string {
	if len(data) == 0 {
		return ""
	}
	return fmt.Sprintf("(not shown: %d bytes)", len(data))
}
