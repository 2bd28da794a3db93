package console_test

import (
	"context"
	"errors"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certpurge/certpurge/internal/admin/console"
	"github.com/certpurge/certpurge/internal/doctor"
	"github.com/certpurge/certpurge/internal/login"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue/inspect"
	"github.com/certpurge/certpurge/internal/queue/presence"
	"github.com/certpurge/certpurge/internal/telemetry"
)

var now = time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)

func ago(d time.Duration) *time.Time {
	t := now.Add(-d)
	return &t
}

// world is what the page is told; tests change it.
type world struct {
	tallies  []mysql.Tally
	progress mysql.Progress
	oldest   []mysql.Oldest
	retained mysql.Dates
	restore  mysql.Dates
	ledger   error
	depths   []inspect.Depth
	stats    error
	policy   string // of eviction
	workers  []presence.Worker
	redis    error
	problems []string
	left     []console.Uncovered
	findings []doctor.Finding
	reads    atomic.Int64 // of the ledger
	counted  atomic.Int64 // slots of what has ended
	may      console.Operations
	did      []mysql.Operation
	loose    time.Time
	paces    func() []telemetry.BucketFigures
}

func (w *world) Tallies(context.Context) ([]mysql.Tally, error) {
	w.reads.Add(1)
	return w.tallies, w.ledger
}

func (w *world) Progress(context.Context) (mysql.Progress, error) { return w.progress, w.ledger }

// EndedSince says that in each slot one request was done, and at 02:30 three have failed.
func (w *world) EndedSince(_ context.Context, from, before time.Time, slot time.Duration) (all []mysql.Ended, _ error) {
	w.counted.Add(int64(before.Sub(from) / slot))
	for at, i := from, 0; at.Before(before); at, i = at.Add(slot), i+1 {
		all = append(all, mysql.Ended{State: purge.Done, Slot: i, Count: 1})
		if at.Equal(now.Add(-30 * time.Minute)) {
			all = append(all, mysql.Ended{State: purge.Failed, Slot: i, Count: 3})
		}
	}
	return all, w.ledger
}

func (w *world) Operations(context.Context, int) ([]mysql.Operation, error) { return w.did, w.ledger }

func (w *world) UnanchoredSince(context.Context) (time.Time, error) { return w.loose, w.ledger }

func (w *world) Oldest(context.Context) ([]mysql.Oldest, error) { return w.oldest, w.ledger }

func (w *world) Retained(context.Context) (mysql.Dates, error) { return w.retained, w.ledger }

func (w *world) Recoverable(context.Context) (mysql.Dates, error)      { return w.restore, w.ledger }
func (w *world) Backlog(context.Context) ([]inspect.Depth, error)      { return w.depths, w.redis }
func (w *world) Statistics(context.Context) error                      { return w.stats }
func (w *world) EvictionPolicy(context.Context) string                 { return w.policy }
func (w *world) Workers(context.Context) ([]presence.Worker, error)    { return w.workers, w.redis }
func (w *world) Coverage(context.Context) ([]console.Uncovered, error) { return w.left, w.ledger }

func pulling(n int) []presence.Worker {
	return slices.Repeat([]presence.Worker{{State: presence.Pulling}}, n)
}

func pausedWorker() []presence.Worker {
	return []presence.Worker{{
		Host: "host-a", PID: 7, State: presence.Paused, Reason: "MySQL is read-only",
		Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}}
}

// busy is a world in which much is going on, and all is well.
func busy() *world {
	return &world{
		tallies: []mysql.Tally{
			{State: purge.Queued, Count: 1_200_000},
			{State: purge.Queued, Reason: purge.ReasonRetained, Count: 7},
			{State: purge.Running, Count: 50},
			{State: purge.Done, Count: 3_400_000},
			{State: purge.Refused, Reason: purge.ReasonNotRetiring, Count: 12},
		},
		progress: mysql.Progress{LastDone: ago(3 * time.Second), Minute: 900, Ten: 8_000, Hour: 51_000},
		oldest: []mysql.Oldest{
			{State: purge.Queued, OpenedAt: *ago(90 * time.Minute)},
			{State: purge.Running, OpenedAt: *ago(2 * time.Hour)},
			{State: purge.Queued, Reason: purge.ReasonRetained, OpenedAt: *ago(30 * 24 * time.Hour)},
		},
		retained: mysql.Dates{Count: 7, First: ago(-48 * time.Hour), Last: ago(-96 * time.Hour)},
		depths:   []inspect.Depth{{Queue: "purge", Pending: 3, Active: 2}, {Queue: "backfill", Pending: 1000, Active: 48}},
		workers:  pulling(4),
	}
}

// open makes a page of a world.
func (w *world) open(t *testing.T, base string) *console.Console {
	t.Helper()
	page := console.New(console.About{Title: "example.org", Process: "worker", Version: "certpurge v1", Base: base}, console.Sources{
		Ledger: w, Queues: w, Problems: func(context.Context) []string { return w.problems }, Coverage: w.Coverage,
		Doctor: func(context.Context) (console.Diagnosis, error) {
			return console.Diagnosis{Findings: w.findings, Whole: true}, nil
		},
		Operations: w.may, Paces: w.paces,
		Buckets: func() []purge.BucketSettings {
			return []purge.BucketSettings{{Bucket: "certs", Versioning: true, SoftDelete: 7 * 24 * time.Hour}, {
				Bucket:            "old",
				SoftDeleteUnknown: true,
			}}
		},
	}, slog.New(slog.NewTextHandler(t.Output(), nil)))
	page.Now = func() time.Time { return now }
	t.Cleanup(page.Close)
	return page
}

func get(t *testing.T, page http.Handler, url string) (status int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(login.With(t.Context(), login.Visitor{Name: "alice", Right: login.View}),
		http.MethodGet, url, http.NoBody)
	page.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

var tags = regexp.MustCompile(`<[^>]*>`)

// read checks the page twice, so that what is read in the background is there, and returns its text.
func (w *world) read(t *testing.T) string {
	t.Helper()
	var text string
	synctest.Test(t, func(t *testing.T) {
		page := w.open(t, "")
		defer page.Close()
		get(t, page, "/")
		synctest.Wait()
		status, body := get(t, page, "/")
		if status != http.StatusOK {
			t.Fatalf("got %d %s", status, body)
		}
		text = html.UnescapeString(strings.Join(strings.Fields(tags.ReplaceAllString(body, " ")), " "))
	})
	return text
}

func TestPageAnswersTheFirstQuestion(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*world)
		want   string
	}{
		"working": {func(*world) {}, "Working 8,000 requests were done in the last ten minutes, " +
			"1,200,057 are open."},
		"idle": {func(w *world) { w.tallies, w.oldest = nil, nil }, "Idle No request is open."},
		"waiting for dates": {
			func(w *world) { w.tallies, w.oldest = w.tallies[1:2], w.oldest[2:] },
			"Waiting Nothing is due. 7 requests wait for a date.",
		},
		"stalled": {func(w *world) { w.progress.Ten = 0 }, "Problem No request was done in the last ten minutes, and the " +
			"oldest one waits since 2 h."},
		"just begun": {func(w *world) {
			w.progress.Ten = 0
			w.oldest = []mysql.Oldest{{State: purge.Queued, OpenedAt: *ago(time.Minute)}}
		}, "Working"},
		"no worker": {
			func(w *world) { w.workers = nil },
			"Problem 1,200,057 requests are open, and no worker is running.",
		},
		"all are paused": {
			func(w *world) { w.workers = pausedWorker() },
			"Problem 1,200,057 requests are open, and no worker pulls tasks: host-a (process 7) is paused since",
		},
		"one is paused": {
			func(w *world) { w.workers = append(w.workers, pausedWorker()...) },
			"Worker host-a (process 7) is paused since 2026-01-02T03:04:05Z: MySQL is read-only.",
		},
		"no worker, none due": {func(w *world) { w.workers, w.oldest = nil, w.oldest[2:] }, "Waiting"},
		"MySQL is away": {
			func(w *world) { w.ledger = errors.New("connection refused") },
			"Problem The ledger in MySQL cannot be read: connection refused",
		},
		"Redis is away": {
			func(w *world) { w.redis = errors.New("connection refused") },
			"Problem The queues in Redis cannot be read: connection refused",
		},
		"not ready": {
			func(w *world) { w.problems = []string{"paused: bucket certs is missing"} },
			"Problem This process is not ready: paused: bucket certs is missing",
		},
		"a broken task": {
			func(w *world) { w.stats = errors.New("script died") },
			"Warning 8,000 requests were done in the last ten minutes, 1,200,057 are open. asynq's own statistics fail, and " +
				"with them parts of the dashboard",
		},
		"a paused queue": {
			func(w *world) { w.depths[1].Paused = true },
			"Warning 8,000 requests were done in the last ten minutes, 1,200,057 are open. Queue backfill is paused: " +
				"1,000 tasks wait",
		},
		"anchors that have stopped": {
			func(w *world) { w.loose = *ago(121 * time.Minute) },
			"Warning 8,000 requests were done in the last ten minutes, 1,200,057 are open. Evidence of 2 h 1 min ago is in " +
				"no anchor yet: what is in none can be removed unseen. Runbook",
		},
		"evidence that will be in the next anchor": {func(w *world) { w.loose = *ago(time.Hour) }, "Working"},
		"failures of this hour": {
			func(w *world) { w.progress.Failed = 3 },
			"Warning 8,000 requests were done in the last ten minutes, 1,200,057 are open. 3 requests have failed in " +
				"the last hour.",
		},
		"finds of the doctor": {func(w *world) {
			w.findings = []doctor.Finding{
				{Severity: doctor.Warn, Subject: "Redis", Text: "its clock is wrong"},
				{Severity: doctor.Note, Subject: "x", Text: "y"},
			}
		}, "Warning 8,000 requests were done in the last ten minutes, 1,200,057 are open. The doctor has 1 find; see below."},
		"only notes of the doctor": {func(w *world) {
			w.findings = []doctor.Finding{{
				Severity: doctor.Note, Subject: "x",
				Text: "y",
			}}
		}, "Working"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := busy()
			tc.change(w)
			if text := w.read(t); !strings.Contains(text, tc.want) {
				t.Errorf("got\n%s\nwant %q", text, tc.want)
			}
		})
	}
}

func TestPageSaysWhatMendsEachFailure(t *testing.T) {
	t.Parallel()
	w := busy()
	for _, r := range []purge.Reason{purge.ReasonHeld, purge.ReasonNoPermission, purge.ReasonUnrecognised} {
		w.tallies = append(w.tallies, mysql.Tally{State: purge.Failed, Reason: r, Count: 41})
	}
	w.tallies = append(w.tallies, mysql.Tally{State: purge.Failed, Reason: purge.ReasonGaveUp, Count: 99},
		mysql.Tally{State: purge.Done, Reason: purge.ReasonFilesMissing, Count: 6})
	text := w.read(t)
	for _, want := range []string{
		"enqueuer requeue --reason held --execute", "enqueuer requeue --reason no_permission --execute",
		"enqueuer requeue --reason unrecognised_reference --execute",
		"enqueuer failures --reason gave_up", "done: files_missing 6",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("got\n%s\nwant %q", text, want)
		}
	}
	if strings.Index(text, "gave_up 99") > strings.Index(text, "held 41") {
		t.Error("the most frequent reason does not come first")
	}
}

func TestPageShowsWhatIsKnown(t *testing.T) {
	t.Parallel()
	w := busy()
	w.restore = mysql.Dates{Count: 5, First: ago(-time.Hour), Last: ago(-2 * time.Hour)}
	w.left = []console.Uncovered{{Users: 17}, {State: purge.Failed, Reason: purge.ReasonHeld, Users: 3}}
	w.findings = []doctor.Finding{{
		Severity: doctor.Warn, Subject: "queue purge", Text: "The queue is odd.",
		Fix: "fix it",
	}}
	w.did = []mysql.Operation{
		{At: now, Kind: mysql.OperationDashboard, Subject: "purge: pause", By: "dashboard, bob"},
		{At: now, Kind: mysql.OperationResumed, Subject: "purge", By: "console, alice", Ticket: "OPS-7"},
		{At: now, Kind: mysql.OperationFixed, By: "console, alice"},
	}
	text := w.read(t)
	for _, want := range []string{
		"2026-11-01 03:00 dashboard, bob in the dashboard: purge: pause", "console, alice resumed queue purge OPS-7",
		"console, alice had the doctor fix", "Done in the last minute 900", "Last one done 3 s ago", "Oldest that is due 2 h", "Workers 4", "purge runs 3 2 0 0 0",
		"backfill runs 1,000 48",
		"retained 7 , oldest 30 d", "Protected by a date 7 the first until 2026-11-03 03:00 , the last until " +
			"2026-11-05 03:00", "restorable (soft delete) 5",
		"certs Versioning on: every version is deleted; soft delete keeps what was deleted restorable for 7 d",
		"old Versioning off; soft delete unknown", "20 retiring users still have links", "never requested 17",
		"failed: held 3",
		"queue purge: The queue is odd.", "enqueuer doctor --fix would: fix it.", "refused: not_retiring 12",
		"logged in as alice (view)", "certpurge v1",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("got\n%s\nwant %q", text, want)
		}
	}
}

func TestPageSaysOneDateOnce(t *testing.T) {
	t.Parallel()
	w := busy()
	w.retained = mysql.Dates{Count: 1, First: ago(-48 * time.Hour), Last: ago(-48 * time.Hour)}
	if text := w.read(t); !strings.Contains(text, "Protected by a date 1 until 2026-11-03 03:00 Done") {
		t.Errorf("got\n%s", text)
	}
}

// TestMetricsSayWhatThePageKnows checks what is not a mere copy.
func TestMetricsSayWhatThePageKnows(t *testing.T) {
	t.Parallel()
	for policy, want := range map[string]*bool{"noeviction": new(true), "allkeys-lru": new(false), "": nil} {
		w := busy()
		w.policy, w.stats, w.problems = policy, errors.New("a task is broken"), []string{"paused"}
		servers := w.open(t, "").Servers()
		f, ok := servers.Queues(t.Context())
		if !ok || !f.Broken || f.Workers != 4 || (f.Keeps == nil) != (want == nil) || want != nil && *f.Keeps != *want {
			t.Errorf("policy %q: got %+v, %v", policy, f, ok)
		}
		if servers.Ready(t.Context()) {
			t.Error("a process with problems is ready")
		}
	}
	if !busy().open(t, "").Servers().Ready(t.Context()) {
		t.Error("a process without problems is not ready")
	}
}

// TestPageEscapesWhatItShows puts markup where a broken server could put it.
func TestPageEscapesWhatItShows(t *testing.T) {
	t.Parallel()
	w := busy()
	w.problems = []string{"<script>alert(1)</script>"}
	w.depths[0].Queue = `"><img src=x>`
	status, body := get(t, w.open(t, ""), "/")
	if status != http.StatusOK || strings.Contains(body, "<script>") || strings.Contains(body, "<img") {
		t.Errorf("got %d\n%s", status, body)
	}
}

func TestPageKnowsWhereItIs(t *testing.T) {
	t.Parallel()
	page := busy().open(t, "/ops/certpurge")
	_, body := get(t, page, "/")
	for _, match := range regexp.MustCompile(`(?:href|src)="([^"]*)"`).FindAllStringSubmatch(body, -1) {
		if link := match[1]; !strings.HasPrefix(link, "/ops/certpurge/") && !strings.HasPrefix(link, "#") &&
			!strings.HasPrefix(link, "?") && link != "data:," {
			t.Errorf("the page links to %s", link)
		}
	}
	style := regexp.MustCompile(`href="/ops/certpurge(/assets/[^"]+)"`).FindStringSubmatch(body)
	if style == nil {
		t.Fatal("the page has no style")
	}
	if status, css := get(t, page, style[1]); status != http.StatusOK ||
		!strings.Contains(css, "prefers-color-scheme: dark") || strings.Contains(css, "url(") {
		t.Errorf("the style: got %d", status)
	}
	if status, _ := get(t, page, "/nowhere"); status != http.StatusNotFound {
		t.Errorf("got %d", status)
	}
	if _, still := get(t, page, "/?refresh=off"); strings.Contains(still, "http-equiv") ||
		!strings.Contains(body, `http-equiv="refresh"`) {
		t.Error("the page cannot be kept from loading itself again")
	}
}

// TestManyLooksReadOnce has a crowd look while the ledger is being read, and again soon.
func TestManyLooksReadOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := busy()
		page := console.New(console.About{}, console.Sources{
			Ledger: &slowLedger{world: w, takes: time.Second}, Queues: w,
			Problems: func(context.Context) []string { return nil },
		}, slog.New(slog.NewTextHandler(t.Output(), nil)))
		defer page.Close()
		var crowd sync.WaitGroup
		for range 50 {
			crowd.Go(func() { get(t, page, "/") })
		}
		crowd.Wait()
		get(t, page, "/")
		if got := w.reads.Load(); got != 1 {
			t.Errorf("the ledger was read %d times, want once", got)
		}
		time.Sleep(time.Minute) //nolint:forbidigo // in a bubble
		get(t, page, "/")
		if got := w.reads.Load(); got != 2 {
			t.Errorf("later the ledger was read %d times in all, want twice", got)
		}
	})
}

// TestSlowReadingsKeepNobodyWaiting has counting the uncovered users take an hour, and the ledger a minute.
func TestSlowReadingsKeepNobodyWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := busy()
		slow := &slowLedger{world: w, takes: 8 * time.Second}
		page := console.New(console.About{}, console.Sources{
			Ledger: slow, Queues: w, Problems: func(context.Context) []string { return nil },
			Coverage: func(ctx context.Context) ([]console.Uncovered, error) { <-ctx.Done(); return nil, ctx.Err() },
		}, slog.New(slog.NewTextHandler(t.Output(), nil)))
		begun := time.Now()
		if _, body := get(t, page, "/"); !strings.Contains(body, "could not be read yet") ||
			!strings.Contains(body, "Being counted") {
			t.Errorf("got\n%s", body)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("the page took %v", took)
		}
		time.Sleep(10 * time.Second) //nolint:forbidigo // in a bubble
		if _, body := get(t, page, "/"); !strings.Contains(body, "1,200,057") {
			t.Errorf("after the ledger was read: got\n%s", body)
		}
		time.Sleep(time.Minute) //nolint:forbidigo // in a bubble
		get(t, page, "/")
		if got := w.reads.Load(); got != 1 {
			t.Errorf("what takes 8 s was read %d times within 70 s, want once", got)
		}
		page.Close() // ends what is still being read
		if _, body := get(t, page, "/"); !strings.Contains(body, "1,200,057") {
			t.Error("a closed page forgets what it knew")
		}
	})
}

type slowLedger struct {
	*world

	takes time.Duration
}

func (s *slowLedger) Tallies(ctx context.Context) ([]mysql.Tally, error) {
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
	}
	return s.world.Tallies(ctx)
}
