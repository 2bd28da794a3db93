package dashboard_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/queue/dashboard"
	"github.com/certpurge/certpurge/internal/queue/queuetest"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m)) }

var (
	newRedis = queuetest.NewRedis
	task42   = queuetest.Task42
	enqueue  = queuetest.Enqueue
	depth    = queuetest.Depth
)

const root = "/ops/monitoring"

// visit sends a request to the dashboard, below its root.
func visit(t *testing.T, handler http.Handler, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, root+path, http.NoBody))
	return w
}

func TestDashboardShowsEveryState(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	release := queuetest.Ward{T: t, Redis: rdb}.Fill()
	defer release()
	handler := dashboard.New(rdb, root).Handler(false)
	for set, user := range map[string]int{
		"active": 42, "pending": 5, "scheduled": 42, "retry": 3, "archived": 2,
		"completed": 1,
	} {
		w := visit(t, handler, http.MethodGet, "/api/queues/purge/"+set+"_tasks?size=100&page=1")
		if want := fmt.Sprintf(`\"user_id\":%d`, user); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: got %d %s, want %s in it", set, w.Code, w.Body, want)
		}
	}
	for _, path := range []string{
		"/api/queues", "/api/queues/purge", "/api/queue_stats", "/api/servers",
		"/api/redis_info", "/api/queues/purge/tasks/purge:42", "/api/scheduler_entries",
	} {
		if w := visit(t, handler, http.MethodGet, path); w.Code != http.StatusOK || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s: got %d %s", path, w.Code, w.Body)
		}
	}
}

func TestDashboardShowsNoForeignPayloads(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	client := asynq.NewClientFromRedisClient(rdb)
	for i, payload := range []string{
		`jane.doe@x.example`, `{"v":1,"request_id":1,"user_id":2,"email":"jane.doe@x.example"}`, `{"v":9,"name":"jane.doe"}`,
		`{"v":1,"request_id":7,"user_id":8}`,
	} {
		if _, err := client.Enqueue(asynq.NewTask("t", []byte(payload)), asynq.Queue(queue.Live),
			asynq.TaskID(strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := rdb.HSet(t.Context(), "asynq:{purge}:t:3", "result", "jane.doe").Err(); err != nil {
		t.Fatal(err)
	}
	handler := dashboard.New(rdb, root).Handler(true)
	for _, path := range []string{"/pending_tasks", "/tasks/0", "/tasks/1", "/tasks/2", "/tasks/3"} {
		w := visit(t, handler, http.MethodGet, "/api/queues/purge"+path)
		if w.Code != http.StatusOK || strings.Contains(w.Body.String(), "jane") {
			t.Errorf("%s: got %d %s", path, w.Code, w.Body)
		}
	}
	if w := visit(t, handler, http.MethodGet, "/api/queues/purge/tasks/3"); !strings.Contains(w.Body.String(),
		`{\"v\":1,\"request_id\":7,\"user_id\":8}`) {
		t.Errorf("our own payload: got %s", w.Body)
	}
}

func TestDashboardChangesOnlyForThoseWhoMay(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	enqueue(t, rdb, task42)
	d := dashboard.New(rdb, root)
	paused := func() bool { return rdb.Exists(t.Context(), "asynq:{purge}:paused").Val() == 1 }
	if w := visit(t, d.Handler(false), http.MethodPost, "/api/queues/purge:pause"); w.Code != http.StatusForbidden ||
		paused() {
		t.Errorf("who may look: got %d, paused %v", w.Code, paused())
	}
	if w := visit(t, d.Handler(true), http.MethodPost, "/api/queues/purge:pause"); w.Code != http.StatusNoContent ||
		!paused() {
		t.Errorf("who may operate: got %d, paused %v", w.Code, paused())
	}
	if w := visit(t, d.Handler(true), http.MethodPost, "/api/queues/purge:resume"); w.Code != http.StatusNoContent ||
		paused() {
		t.Errorf("resuming: got %d, paused %v", w.Code, paused())
	}
	if w := visit(t, d.Handler(true), http.MethodDelete,
		"/api/queues/purge/pending_tasks/purge:42"); w.Code != http.StatusNoContent || depth(t, rdb).Pending != 0 {
		t.Errorf("deleting one task: got %d %s", w.Code, w.Body)
	}
	if w := visit(t, d.Handler(true), http.MethodPost, "/anything"); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("posting to a page: got %d", w.Code)
	}
}

// TestDashboardRefusesWhatHurts goes through every change that asynqmon v0.7.2 knows.
func TestDashboardRefusesWhatHurts(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	enqueue(t, rdb, task42)
	handler := dashboard.New(rdb, root).Handler(true)
	refused := func(moment string, method, path string, want int) {
		t.Helper()
		if w := visit(t, handler, method, "/api/queues/"+path); w.Code != want {
			t.Errorf("%s: %s %s: got %d %s, want %d", moment, method, path, w.Code, w.Body, want)
		}
	}
	for _, set := range []string{"pending", "scheduled", "retry"} {
		for _, verb := range []string{":archive_all", ":batch_archive", "/purge:42:archive"} {
			refused("always", http.MethodPost, "purge/"+set+"_tasks"+verb, http.StatusConflict)
		}
	}
	refused("always", http.MethodDelete, "purge", http.StatusConflict)
	refused("unknown", http.MethodPost, "purge/groups/g/aggregating_tasks:run_all", http.StatusNotFound)
	refused("unknown", http.MethodPost, "purge/pending_tasks:explode", http.StatusNotFound)
	refused("unknown", http.MethodPut, "purge/pending_tasks", http.StatusNotFound)
	refused("unknown", http.MethodPost, "purge/pending_tasks/a/b:archive_all", http.StatusNotFound)
	refused("unknown", http.MethodPost, "purge//pending_tasks:archive_all", http.StatusNotFound)
	refused("small", http.MethodDelete, "purge/pending_tasks:delete_all", http.StatusOK)
	if got := depth(t, rdb).Pending; got != 0 {
		t.Errorf("got %d tasks after deleting all", got)
	}
	fillSets(t, rdb, 10_001)
	for _, set := range []string{"pending", "scheduled", "retry", "archived", "completed"} {
		refused("huge", http.MethodDelete, "purge/"+set+"_tasks:delete_all", http.StatusConflict)
		refused("huge", http.MethodPost, "purge/"+set+"_tasks:batch_delete", http.StatusConflict)
		if set != "pending" && set != "completed" {
			refused("huge", http.MethodPost, "purge/"+set+"_tasks:run_all", http.StatusConflict)
			refused("huge", http.MethodPost, "purge/"+set+"_tasks:batch_run", http.StatusConflict)
		}
	}
	for _, size := range []string{"101", "0", "-1", "x"} {
		if w := visit(t, handler, http.MethodGet, "/api/queues/purge/pending_tasks?size="+
			size); w.Code != http.StatusBadRequest {
			t.Errorf("a page of %s tasks: got %d", size, w.Code)
		}
	}
}

// fillSets puts n ids into every set of the live queue, without tasks.
func fillSets(t *testing.T, rdb redis.UniversalClient, n int) {
	t.Helper()
	const script = `for i = 1, ARGV[1] do
		redis.call("RPUSH", KEYS[1], i)
		for k = 2, 5 do redis.call("ZADD", KEYS[k], 1, i) end
	end return 1`
	keys := make([]string, 0, 5)
	for _, set := range []string{"pending", "scheduled", "retry", "archived", "completed"} {
		keys = append(keys, "asynq:{purge}:"+set)
	}
	if err := rdb.Eval(t.Context(), script, keys, n).Err(); err != nil {
		t.Fatal(err)
	}
}

// TestDashboardListsQueuesWhileATaskIsBroken takes away one task's hash, at which asynq's own statistics die.
func TestDashboardListsQueuesWhileATaskIsBroken(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	enqueue(t, rdb, task42, purge.Task{Request: 5, User: 5})
	handler := dashboard.New(rdb, root).Handler(false)
	list := func() []map[string]any {
		t.Helper()
		w := visit(t, handler, http.MethodGet, "/api/queues")
		var answer struct{ Queues []map[string]any }
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK {
			t.Fatalf("got %d %s, %v", w.Code, w.Body, err)
		}
		return answer.Queues
	}
	well := list()
	if len(well) != 1 || well[0]["pending"] != 2.0 {
		t.Fatalf("got %v", well)
	}
	if n, err := rdb.Del(t.Context(), "asynq:{purge}:t:purge:42").Result(); n != 1 || err != nil {
		t.Fatalf("got %d, %v", n, err)
	}
	broken := list()
	if len(broken) != 2 || broken[0]["queue"] != "purge" || broken[0]["pending"] != 2.0 || broken[0]["size"] != 2.0 {
		t.Errorf("got %v", broken)
	}
	// The page must understand both.
	keys := func(row map[string]any) (all []string) {
		for key := range row {
			all = append(all, key)
		}
		slices.Sort(all)
		return all
	}
	if got, want := keys(broken[0]), keys(well[0]); !reflect.DeepEqual(got, want) {
		t.Errorf("got the fields\n%v, asynqmon has\n%v", got, want)
	}
}

func TestDashboardPageLoadsNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	d := dashboard.New(rdb, root)
	nonces := map[string]bool{}
	for _, path := range []string{"/", "", "/queues/purge/tasks/purge:42", "/servers", "/settings.html"} {
		for _, write := range []bool{false, true} {
			w := visit(t, d.Handler(write), http.MethodGet, path)
			page, policy := w.Body.String(), w.Header().Get("Content-Security-Policy")
			nonce := regexp.MustCompile(`script-src 'nonce-([^']+)'`).FindStringSubmatch(policy)
			if w.Code != http.StatusOK || nonce == nil || nonces[nonce[1]] || strings.Contains(policy, "unsafe") {
				t.Fatalf("%s: got %d, policy %q", path, w.Code, policy)
			}
			nonces[nonce[1]] = true
			if strings.Contains(page, "//fonts") || strings.Contains(page, "manifest.json") ||
				regexp.MustCompile(`(src|href)="https?:`).MatchString(page) {
				t.Errorf("%s: the page loads from elsewhere:\n%s", path, page)
			}
			if got, want := strings.Count(page, `nonce="`+nonce[1]+`"`),
				strings.Count(page, "<script")+strings.Count(page, "<style"); got != want || want < 2 {
				t.Errorf("%s: %d of %d scripts and styles have the nonce", path, got, want)
			}
			if want := fmt.Sprintf(`FLAG_READ_ONLY="%v"`, !write); path != "/settings.html" && !strings.Contains(page, want) {
				t.Errorf("%s: the page lacks %s", path, want)
			}
		}
	}
	for base, overview := range map[string]string{"/monitoring": "/", "/ops/certpurge/monitoring": "/ops/certpurge/"} {
		request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, base+"/queues/purge", http.NoBody)
		answer := httptest.NewRecorder()
		dashboard.New(rdb, base).Handler(false).ServeHTTP(answer, request)
		if page := answer.Body.String(); strings.Count(page, `a request that failed has ended`) != 1 ||
			!strings.Contains(page, `<a href="`+overview+`">overview</a>`) {
			t.Errorf("%s: the page does not lead to the overview:\n%s", base, page)
		}
	}
	script := regexp.MustCompile(`src="` + root +
		`(/static/js/main[^"]+)"`).FindStringSubmatch(visit(t, d.Handler(false), http.MethodGet, "/").Body.String())
	if script == nil {
		t.Fatal("the page names no script")
	}
	if w := visit(t, d.Handler(false), http.MethodGet, script[1]); w.Code != http.StatusOK ||
		!strings.Contains(w.Header().Get("Content-Type"), "javascript") || w.Body.Len() < 10_000 {
		t.Errorf("the script: got %d, %v, %d bytes", w.Code, w.Header(), w.Body.Len())
	}
	if w := visit(t, d.Handler(false), http.MethodGet, script[1]+".map"); w.Code != http.StatusNotFound {
		t.Errorf("the source map: got %d", w.Code)
	}
	outside := httptest.NewRecorder()
	d.Handler(false).ServeHTTP(outside, httptest.NewRequestWithContext(t.Context(), http.MethodGet, root+"x/",
		http.NoBody))
	if outside.Code != http.StatusNotFound {
		t.Errorf("a path beside the root: got %d", outside.Code)
	}
}

func TestDashboardSaysThatRedisIsAway(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", DialTimeout: time.Second, MaxRetries: -1})
	t.Cleanup(func() { _ = rdb.Close() })
	handler := dashboard.New(rdb, root).Handler(true)
	if w := visit(t, handler, http.MethodGet, "/api/queues"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	if w := visit(t, handler, http.MethodDelete,
		"/api/queues/purge/pending_tasks:delete_all"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}
