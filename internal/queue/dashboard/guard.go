package dashboard

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"

	"github.com/certpurge/certpurge/internal/queue/inspect"
)

const (
	// maxAtOnce is how many tasks may be in a set that is changed as a whole. asynq does that in one script, during which
	// Redis answers no other client: with a million tasks it takes seconds.
	maxAtOnce = 10_000
	maxRead   = 100 // tasks of one page
)

var (
	queueWrite = regexp.MustCompile(`^queues/([^/:]+)(?::(pause|resume))?$`)
	taskWrite  = regexp.MustCompile(
		`^queues/([^/]+)/(active|pending|scheduled|retry|archived|completed)_tasks(?:/([^/]+?))?(?::([a-z_]+))?$`)
)

// refuseWrite says why a change is refused; refusal is empty if it is not. Unknown changes are refused.
func (d *Dashboard) refuseWrite(ctx context.Context, method, path string) (status int, refusal string) {
	if match := queueWrite.FindStringSubmatch(path); match != nil {
		if match[2] == "" || method != http.MethodPost {
			return http.StatusConflict, "Queues are not deleted here: an enqueuer that runs would fill the queue again, and " +
				"asynq would not list it. Pause it instead."
		}
		return 0, ""
	}
	match := taskWrite.FindStringSubmatch(path)
	if match == nil {
		return http.StatusNotFound, "There is no such action here."
	}
	queue, set, id, verb := match[1], match[2], match[3], match[4]
	switch verb {
	case "archive", "archive_all", "batch_archive":
		return http.StatusConflict, "Tasks are not archived here: asynq's archive drops tasks silently, and the reconciler " +
			"empties it and queues open requests again. To stop the work, pause the queue."
	case "", "cancel", "run":
		if id == "" {
			return http.StatusNotFound, "There is no such action here."
		}
		return 0, ""
	case "cancel_all", "batch_cancel":
		return 0, "" // there are no more active tasks than the workers' concurrency
	case "delete_all", "batch_delete", "run_all", "batch_run":
	default:
		return http.StatusNotFound, "There is no such action here."
	}
	n, err := inspect.Count(ctx, d.redis, queue, set).Result()
	if err != nil {
		return http.StatusServiceUnavailable, "Redis does not report how many tasks there are."
	}
	if n > maxAtOnce {
		return http.StatusConflict, fmt.Sprintf("Queue %s has %d tasks in this state, and Redis would not answer "+
			"other clients "+
			"while more than %d are changed at once. Pause the queue, or change tasks one by one.", queue, n, maxAtOnce)
	}
	return 0, ""
}

// refuseRead says why a read is refused; empty if it is not. The dashboard's own pages read at most 100 tasks.
func refuseRead(query url.Values) string {
	size := query.Get("size")
	if size == "" {
		return ""
	}
	if n, err := strconv.Atoi(size); err != nil || n < 1 || n > maxRead {
		return fmt.Sprintf("size must be between 1 and %d.", maxRead)
	}
	return ""
}
