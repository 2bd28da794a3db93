package demo

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/demo/dataset"
)

// meanings describe the ends for people. The parts that a reason does not name are purged in every case.
var meanings = map[dataset.End]string{
	{State: purge.Done}: "all files gone, all links cleared",
	{State: purge.Done, Reason: purge.ReasonNothingToPurge}:  "no link to any file",
	{State: purge.Done, Reason: purge.ReasonFilesMissing}:    "files missing, accepted; links cleared",
	{State: purge.Refused, Reason: purge.ReasonNotRetiring}:  "may still cancel: nothing touched",
	{State: purge.Refused, Reason: purge.ReasonUnknownUser}:  "the LMS has no such user",
	{State: purge.Failed, Reason: purge.ReasonHeld}:          "a hold protects a file: link stays",
	{State: purge.Failed, Reason: purge.ReasonUnrecognised}:  "a link leads elsewhere: it stays",
	{State: purge.Failed, Reason: purge.ReasonFilesMissing}:  "a directory is empty: its link stays",
	{State: purge.Failed, Reason: purge.ReasonShared}:        "another user's row names it: stays",
	{State: purge.Failed, Reason: purge.ReasonNoPermission}:  "a file may not be deleted: link stays",
	{State: purge.Failed, Reason: purge.ReasonGaveUp}:        "no attempt left: unproven links stay",
	{State: purge.Queued, Reason: purge.ReasonRetained}:      "a date protects a file: link waits",
	{State: purge.Queued, Reason: purge.ReasonSoftDeleted}:   "restorable until a date: links wait",
	{State: purge.Queued, Reason: purge.ReasonMisconfigured}: "waits for the configuration",
}

// printf writes for people. A lost line is not a failure of the demo.
func (d *demo) printf(format string, args ...any) { _, _ = fmt.Fprintf(d.people, format, args...) }

// stepWidth is the column in which times stand.
const stepWidth = 68

// step does something and says how long it took.
func (d *demo) step(what string, do func() error) error {
	if d.Terminal {
		d.printf("%s", label(what))
	}
	begun := time.Now()
	if err := do(); err != nil {
		if d.Terminal {
			d.printf("failed\n")
		}
		return err
	}
	if !d.Terminal { // a log is better read in whole lines
		d.printf("%s", label(what))
	}
	d.printf("%s\n", seconds(time.Since(begun)))
	return nil
}

func label(what string) string {
	return "  " + what + strings.Repeat(" ", max(1, stepWidth-utf8.RuneCountInString(what)))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%6.1f s", d.Seconds()) }

// print prints the result.
func (d *demo) print(r Report) {
	d.printf("\nHow the %s requests ended (all that no line excepts is gone)\n", grouped(r.Users))
	for _, end := range slices.SortedFunc(maps.Keys(r.ends), byEnd) {
		name := string(end.State)
		if end.Reason != purge.ReasonNone {
			name += ": " + string(end.Reason)
		}
		d.printf("%9s  %-31s %s\n", grouped(r.ends[end]), name, meanings[end])
	}
	d.printf("\nOutcomes of the retiring users' certificates\n")
	d.printf("%9s  stored generations erased\n", grouped(r.ObjectsErased))
	d.printf("%9s  links cleared, in the live table and in the history\n", grouped(r.ReferencesCleared))
	d.printf("%9s  generations and %s links held back, for the reasons above\n", grouped(r.ObjectsHeldBack),
		grouped(r.ReferencesHeldBack))

	figures := d.before.Figures()
	d.printf("\nIndependent check: all %s rows of the LMS database\nand all %s stored generations, before and after\n",
		grouped(figures.Rows), grouped(figures.Generations))
	for _, line := range []struct {
		n    int
		what string
	}{
		{r.ObjectsLeft, "files of retiring users left that should be gone"},
		{r.ReferencesLeft, "links of retiring users left that should be gone"},
		{r.HeldBackLost, "files or links gone that had to be held back"},
		{r.ForeignObjectsTouched, "files of others touched"},
		{r.ForeignRowsTouched, "other rows changed, or other columns than the two"},
		{r.UnexpectedEnds, "requests with an unexpected end"},
		{r.EvidenceGaps, "gaps between the ledger's evidence and the buckets"},
	} {
		verdict := "ok"
		if line.n > 0 {
			verdict = "WRONG"
		}
		d.printf("%9s  %-5s  %s\n", grouped(line.n), verdict, line.what)
	}
	d.printf("\n")
	for _, problem := range r.Problems {
		d.printf("  %s\n", problem)
	}
	verdict := "The check holds."
	if !r.OK {
		verdict = "The check does NOT hold."
	}
	d.printf("%s %s users in %.1f s, %.0f users/s;\n%.1f s with servers, seeding and check.\n",
		verdict, grouped(r.Users), r.Seconds, r.UsersPerSecond, r.TotalSeconds)
}

// byEnd orders ends as they are printed: good ones first.
func byEnd(a, b dataset.End) int {
	order := []purge.State{purge.Done, purge.Refused, purge.Failed, purge.Queued, purge.Running}
	return cmp.Or(cmp.Compare(slices.Index(order, a.State), slices.Index(order, b.State)), cmp.Compare(a.Reason, b.Reason))
}

// printKept prints how to explore the site.
func (d *demo) printKept(ctx context.Context, api string) error {
	h := d.env
	health, err := address(ctx, d.worker, "listening")
	if err != nil {
		return err
	}
	console, err := address(ctx, d.server, "listening")
	if err != nil {
		return err
	}
	jwt, err := h.Callers.JWT(time.Now())
	if err != nil {
		return err
	}
	d.printf("\nEverything is still running. Ctrl-C stops and removes it.\n\n")
	d.printf("  %-9s mysql --no-defaults --user=root --socket=%s %s   (the ledger is %s; TCP: %s)\n",
		h.Servers.MySQL.Engine.Title(), h.Servers.MySQL.Socket, LMSDatabase, LedgerDatabase, h.Servers.MySQL.Addr)
	d.printf("  Redis     redis-cli -u %s   (socket: %s)\n", h.RedisURL, h.Servers.Redis.Socket)
	d.printf("  Storage   curl '%sb/%s/o?versions=true&maxResults=5'\n", h.StorageURL, dataset.Buckets()[0])
	d.printf("  Server    curl %s/v1/docs   (log: %s)\n", api, d.server.Log)
	d.printf("  Console   http://%s/   (the worker's: http://%s/)\n", console, health)
	d.printf("  Worker    curl http://%s/readyz   (log: %s)\n", health, d.worker.Log)
	d.printf("  Files     %s, %s\n", h.Path(WorkerFile), h.Path(EnqueuerFile))
	d.printf("\nTo try the commands in another terminal (the secrets are this demo's only):\n\n")
	d.printf("  export CERTPURGE_CONFIG=%s\n", h.Path(EnqueuerFile))
	d.printf("  export CERTPURGE_MYSQL_DSN='%s' CERTPURGE_REDIS_URL='%s'\n", h.EnqueuerDSN, h.RedisURL)
	d.printf("  export API=%s TOKEN=%s\n  export JWT=%s\n", api, h.Callers.Token, jwt)
	d.printf("  %s status\n", d.Enqueuer)
	for _, state := range []purge.State{purge.Refused, purge.Failed, purge.Queued} {
		if id := d.anyUser(state); id != 0 {
			d.printf("  %s status %d   # %s\n", d.Enqueuer, id, state)
		}
	}
	d.printf("  %s enqueue %d --wait   # once more\n", d.Enqueuer, d.anyUser(purge.Failed))
	d.printf("  CERTPURGE_MYSQL_DSN='%s' %s -c %s locations\n", h.WorkerDSN, d.Worker, h.Path(WorkerFile))
	d.printf("  curl -H \"Authorization: Bearer $TOKEN\" \"$API/v1/requests?state=failed&limit=3\"\n\n")
	return nil
}

// anyUser is the first user whose request should have come to this state; 0 if there is none.
func (d *demo) anyUser(state purge.State) int {
	for _, id := range d.data.Enqueued() {
		if d.want.Ends[id].State == state {
			return id
		}
	}
	return 0
}

// grouped writes a number with commas.
func grouped(n int) string {
	digits := strconv.Itoa(n)
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}
