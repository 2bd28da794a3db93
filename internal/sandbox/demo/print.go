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

// meanings say to people what an end is. The parts that a reason does not name are purged in every case.
var meanings = map[dataset.End]string{
	{State: purge.Done}: "all objects erased and shown to be gone, all references cleared",
	{State: purge.Done, Reason: purge.ReasonNothingToPurge}: "no reference to any object",
	{State: purge.Refused, Reason: purge.ReasonNotRetiring}: "no retirement past the stage where it can be cancelled: " +
		"not touched",
	{State: purge.Refused, Reason: purge.ReasonUnknownUser}: "the LMS has no such user",
	{State: purge.Failed, Reason: purge.ReasonHeld}: "a hold protects an object: its reference is kept, the " +
		"rest is gone",
	{State: purge.Failed, Reason: purge.ReasonUnrecognised}: "a reference leads nowhere we know: it is kept, the " +
		"rest is gone",
	{State: purge.Failed, Reason: purge.ReasonFilesMissing}: "a directory is empty that should not be: its reference " +
		"is kept, the rest is gone",
	{State: purge.Done, Reason: purge.ReasonFilesMissing}: "the same, but the settings accept it: all " +
		"references cleared",
	{State: purge.Failed, Reason: purge.ReasonNoPermission}: "the worker may not delete an object: its reference is kept",
	{State: purge.Failed, Reason: purge.ReasonGaveUp}: "attempts used up: what is not proven to be gone keeps " +
		"its reference",
	{State: purge.Queued, Reason: purge.ReasonRetained}: "an object may not be deleted before a date: then, the " +
		"rest is gone",
	{State: purge.Queued, Reason: purge.ReasonSoftDeleted}: "deleted, but restorable until a date: the references " +
		"wait for it",
	{State: purge.Queued, Reason: purge.ReasonMisconfigured}: "waits until the configuration is mended",
}

// printf writes for people. A lost line is not a failure of the demo.
func (d *demo) printf(format string, args ...any) { _, _ = fmt.Fprintf(d.people, format, args...) }

// stepWidth is the column in which times stand.
const stepWidth = 72

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

// print tells people how it went.
func (d *demo) print(r Report) {
	d.printf("\nHow the %s requests ended\n", grouped(r.Users))
	for _, end := range slices.SortedFunc(maps.Keys(r.ends), byEnd) {
		name := string(end.State)
		if end.Reason != purge.ReasonNone {
			name += ": " + string(end.Reason)
		}
		d.printf("%9s  %-31s %s\n", grouped(r.ends[end]), name, meanings[end])
	}
	d.printf("\nWhat became of the retiring users' certificates\n")
	d.printf("%9s  objects erased, every stored generation counted\n", grouped(r.ObjectsErased))
	d.printf("%9s  references cleared, in the live table and in the history\n", grouped(r.ReferencesCleared))
	d.printf("%9s  objects and %s references held back, for the reasons above\n", grouped(r.ObjectsHeldBack),
		grouped(r.ReferencesHeldBack))

	figures := d.before.Figures()
	d.printf("\nIndependent check: all %s rows of the LMS database and all %s stored objects, before and after\n",
		grouped(figures.Rows), grouped(figures.Generations))
	for _, line := range []struct {
		n    int
		what string
	}{
		{r.ObjectsLeft, "objects of retiring users left that should be gone"},
		{r.ReferencesLeft, "references of retiring users left that should be gone"},
		{r.HeldBackLost, "objects or references gone that had to be held back"},
		{r.ForeignObjectsTouched, "objects of others touched"},
		{r.ForeignRowsTouched, "rows touched that are none of ours, or in more than the two columns"},
		{r.UnexpectedEnds, "requests that ended otherwise than they should"},
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
	d.printf("%s %s users in %.1f s, %.0f users/s; %.1f s with servers, seeding and check.\n",
		verdict, grouped(r.Users), r.Seconds, r.UsersPerSecond, r.TotalSeconds)
}

// byEnd orders ends as they are told: good ones first.
func byEnd(a, b dataset.End) int {
	order := []purge.State{purge.Done, purge.Refused, purge.Failed, purge.Queued, purge.Running}
	return cmp.Or(cmp.Compare(slices.Index(order, a.State), slices.Index(order, b.State)), cmp.Compare(a.Reason, b.Reason))
}

// printKept tells people how to look around.
func (d *demo) printKept(ctx context.Context, api string) error {
	h := d.env
	health, err := address(ctx, d.worker, "listening")
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
