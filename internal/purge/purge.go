package purge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Users reads the LMS database.
type Users interface {
	// User reads eligibility and references at one moment. A user that does not exist is an answer, not an error.
	User(ctx context.Context, id UserID) (User, error)
	// Sharing returns the other users whose rows hold, or held, one of these ids of directories: 32 lower-case hexadecimal
	// digits each.
	Sharing(ctx context.Context, user UserID, ids []string) ([]Shared, error)
}

// Shared is the id of a directory, and another user with a row that names it, too, or that named it.
type Shared struct {
	ID    string
	Other UserID
}

// Ledger keeps requests and evidence. Every method may run twice, and in two workers at the same time.
type Ledger interface {
	// Begin claims the task's request for one attempt, under a lease of LeaseDuration. A request that has ended is
	// returned as it is, without a claim. It may read the user as well, as Users does. ErrUnknownRequest means that
	// there is no such request, or that it is another user's. The scope of the attempt comes from the ledger, not from the
	// task's payload.
	Begin(ctx context.Context, task Task) (Attempt, error)
	// Extend makes the lease of an attempt last for LeaseDuration from now, unless a newer attempt has claimed the
	// request.
	Extend(ctx context.Context, attempt Attempt) error
	// Intend records, durably and before anything is deleted, what the attempt is about to delete. Then it reads the
	// user's eligibility again, and which of the empty directories held files of this user before. Both lists may be
	// empty.
	Intend(ctx context.Context, attempt Attempt, intents []Evidence, empty []Directory) (Intended, error)
	// Record clears the references, writes the evidence and moves the request, all or nothing. It moves the request to
	// Done only if the LMS database shows no reference of the user, or of the request's certificate, except those of
	// Report.Keep; then also if another attempt has meanwhile ended it as failed. An attempt that is no longer the newest
	// clears and adds evidence, but does not end the request as refused or failed.
	Record(ctx context.Context, attempt Attempt, report Report) (Recorded, error)
}

// Objects is the store of the certificates' files.
type Objects interface {
	// List returns every generation of every object under dir, noncurrent ones too. It succeeds only if the listing was
	// complete; a missing bucket is an error of class Misconfigured, never an empty list.
	List(ctx context.Context, dir Directory) ([]Generation, error)
	// Delete removes one generation. If it is gone already, that is no error. Success is no proof.
	Delete(ctx context.Context, g Generation) error
	// SoftDeleted lists what was deleted under dir and can still be restored; nothing if the bucket has no soft delete. It
	// uses only settings that were read after since, when the last delete had ended: they may have changed meanwhile.
	SoftDeleted(ctx context.Context, dir Directory, since time.Time) ([]SoftDeletedObject, error)
}

// ErrUnknownRequest is Begin's answer to a task whose request is not in the ledger: another installation's Redis, a
// ledger restored from a backup, or a node of a database cluster that has not got the request yet.
var ErrUnknownRequest = errors.New("the ledger has no such request of this user")

// Task is the content of a task in the queue: a request, its user, and its scope.
type Task struct {
	Request     RequestID
	User        UserID
	Certificate CertificateID // this one only; 0 for all of the user's
	Trace       string        // of the caller, as a W3C traceparent; empty for none; only for tracing
}

// Intended is Intend's answer.
type Intended struct {
	Retirement Retirement
	// Emptied are the empty directories that, according to the evidence, certpurge has emptied for this user, in this
	// request or an earlier one: a file was about to be deleted, and none remained because something protected it.
	Emptied []Directory
}

// Attempt is one try at a request.
type Attempt struct {
	Task
	Number int // 1 for the first; the column attempts_made
	// Fence, the column attempts, identifies the newest attempt. It grows with each attempt, and when a request
	// is opened again.
	Fence int
	// AcceptMissing says who accepted, for this request, that files are missing; empty if they were not.
	AcceptMissing string
	// AcceptShared says who accepted, for this request, that directories are erased although a row of another user names
	// them, too; empty if that was not accepted.
	AcceptShared string
	Failures     int       // counted failures since the request was opened
	Lapsed       int       // consecutive attempts right before this one that recorded nothing until their lease ran out
	OpenedAt     time.Time // when the request was made, or opened again
	State        State
	Reason       Reason
	Counts       Counts
	Origin       Origin
	Began        time.Time // when the attempt was claimed
	Chain        Chain
	Read         *User // the user, if Begin has read it, too; else nil
}

// Origin says where a request comes from. It does not change.
type Origin struct {
	Source      Source
	RequestedBy string // as Submission.By
	RequestedAt time.Time
	Ticket      string // as Submission.Ticket
	ReopenedBy  string // who last opened it again; empty if it never was
}

// Chain is the end of a request's evidence when an attempt began: each document holds the hash of the one before it.
type Chain struct {
	Documents int // so far
	Hash      [32]byte
}

// Policy holds what operators decide.
type Policy struct {
	ExcludedStates   []string // retirement states that are not yet, or no longer, retiring: PENDING, ABORTED
	ClearHistory     bool     // clear the references of history rows too; their files are erased either way
	AcceptSoftDelete bool     // whether a restorable object counts as erased
	AcceptShared     bool     // do not check whether a row of another user names a directory, too
	ClearExternal    bool     // clear links that lead to no file of ours; otherwise they stay
	MaxAttempts      int      // counted failures, or deaths of workers, after which a request ends as failed: gave_up
	// MaxAge is how long a request may be open before a failure, also one that is not counted, ends it as gave_up. Waiting
	// for a date, for a corrected configuration or for another worker is no failure. Zero means no limit.
	MaxAge time.Duration
}

// Result is the outcome of one attempt at a request.
type Result struct {
	Request RequestID
	State   State
	Reason  Reason
	Detail  string
	Attempt int
	Again   bool // the request had ended before; nothing was done
	Counts  Counts
}

// Purger purges users. Its fields are set once, before the first purge; it is then safe for concurrent use.
type Purger struct {
	Users     Users
	Ledger    Ledger
	Objects   Objects
	Orphans   Orphans // nil for a worker that takes no request about orphans
	Locations Locations
	Policy    Policy
	Misses    *Misses          // may be nil
	Now       func() time.Time // needed with Policy.MaxAge
	// Settings are the settings of the buckets as they were last read, for the evidence; nil for none.
	Settings func() []BucketSettings
	Observer Observer // may be nil
}

// recordGrace is how long an attempt whose time is over may take to record what it did.
const recordGrace = 5 * time.Second

// Purge makes one attempt at a task. Without an error the request has ended, and Result says how. With one it has not:
// the class of the error says when to try again.
func (p *Purger) Purge(ctx context.Context, task Task) (Result, error) {
	begun := time.Now()
	attempt, err := p.Ledger.Begin(ctx, task)
	p.took(StepClaim, begun)
	if err != nil {
		return Result{}, fmt.Errorf("beginning request %d: %w", task.Request, err)
	}
	if attempt.State.Ended() {
		return Result{
			Request: attempt.Request, State: attempt.State, Reason: attempt.Reason, Again: true,
			Counts: attempt.Counts,
		}, nil
	}
	defer p.keepLease(ctx, attempt)()
	report, work, failure := p.attempt(ctx, attempt)
	p.addProof(work, &report)
	result := Result{
		Request: attempt.Request, State: report.State, Reason: report.Reason, Detail: report.Detail,
		Attempt: attempt.Number,
	}

	// What was done must be recorded even if the attempt's time has run out meanwhile.
	recordCtx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), recordGrace+remaining(ctx),
		errors.New("recording took too long"))
	defer cancel()
	begun = time.Now()
	recorded, err := p.Ledger.Record(recordCtx, attempt, report)
	p.took(StepCommit, begun)
	if err != nil {
		result.State, result.Reason = Queued, ReasonNone
		// This error comes first, because it decides when to try again: the report was not recorded, so its state is not.
		return result, errors.Join(fmt.Errorf("recording attempt %d of request %d: %w", attempt.Number, attempt.Request, err),
			failure)
	}
	p.recorded(report)
	result.State, result.Counts = recorded.State, recorded.Counts
	if recorded.State.Ended() {
		result.Reason = recorded.Reason
		return result, nil
	}
	if failure == nil { // the report said done, refused or failed, which the database did not allow
		failure = &Error{Class: Transient, Text: fmt.Sprintf(
			"request %d was not ended: references of user %d changed meanwhile, or a newer attempt is at work", attempt.Request,
			task.User)}
	}
	return result, failure
}

// LeaseDuration is how long a claim is valid without being extended. If the lease runs out before anything was
// recorded, the worker counts as dead.
const LeaseDuration = time.Minute

// keepLease extends the lease of an attempt, often enough that one call may fail, until release is called.
func (p *Purger) keepLease(ctx context.Context, attempt Attempt) (release func()) {
	ctx, release = context.WithCancel(context.WithoutCancel(ctx)) // recording may continue after the attempt's time
	go func() {
		ticker := time.NewTicker(LeaseDuration / 3)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				_ = p.Ledger.Extend(ctx, attempt) // without a lease the attempt may count as lapsed; nothing is lost
			}
		}
	}()
	return release
}

// remaining is the time left until the deadline of ctx; zero if that is over or unset.
func remaining(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok || ctx.Err() != nil {
		return 0
	}
	return max(0, time.Until(deadline))
}

// attempt does everything except the recording. The error is nil if the report ends the request. The work is nil if the
// attempt ended before it had any.
func (p *Purger) attempt(ctx context.Context, attempt Attempt) (Report, *work, error) {
	if attempt.Lapsed >= p.Policy.MaxAttempts { // it may kill every worker that tries
		return Report{State: Failed, Reason: ReasonGaveUp, Detail: fmt.Sprintf(
			"the last %d attempts recorded nothing: workers died, or could not write to the ledger", attempt.Lapsed)}, nil, nil
	}
	if attempt.AboutOrphans() {
		begun := time.Now()
		work, err := p.planOrphans(ctx, attempt)
		p.took(StepSharing, begun)
		if err != nil {
			return p.conclude(attempt, nil, fmt.Errorf("reading what orphan set %d is about: %w", attempt.Certificate, err))
		}
		return p.erase(ctx, attempt, work)
	}
	begun := time.Now()
	user, err := p.user(ctx, attempt)
	p.took(StepEligibility, begun)
	if err != nil {
		return p.conclude(attempt, nil, fmt.Errorf("reading user %d: %w", attempt.User, err))
	}
	if refused := p.Policy.Refusal(user.Retirement); refused != ReasonNone {
		return refusal(attempt, refused), nil, nil
	}
	references := user.Of(attempt.Certificate)
	if len(references) == 0 {
		return Report{State: Done, Reason: ReasonNothingToPurge}, nil, nil
	}
	begun = time.Now()
	work, err := p.plan(ctx, references, attempt)
	p.took(StepSharing, begun)
	if err != nil {
		return p.conclude(attempt, nil, fmt.Errorf("looking for other users of the directories of user %d: %w", attempt.User,
			err))
	}
	return p.erase(ctx, attempt, work)
}

// user reads the user of an attempt, unless the claim has.
func (p *Purger) user(ctx context.Context, attempt Attempt) (User, error) {
	if attempt.Read != nil {
		return *attempt.Read, nil
	}
	return p.Users.User(ctx, attempt.User)
}

// erase lists, writes the intents, checks again whether it may delete, deletes and lists again.
func (p *Purger) erase(ctx context.Context, attempt Attempt, work *work) (Report, *work, error) {
	pool := newPool()
	defer pool.stop()
	begun := time.Now()
	each(pool, work.dirs, func(d *directory) {
		if d.leave == "" {
			d.found, d.err = p.list(ctx, d)
		}
	})
	p.took(StepList, begun)
	var empty []Directory
	if attempt.AboutOrphans() {
		work.leaveYoung()
	} else {
		empty = work.empty()
	}

	begun = time.Now()
	intended, err := p.Ledger.Intend(ctx, attempt, work.intents(), empty)
	if err == nil && attempt.AboutOrphans() {
		err = p.leaveReferenced(ctx, work)
	}
	p.took(StepIntend, begun)
	if err != nil {
		return p.conclude(attempt, nil, fmt.Errorf("checking again whether request %d may delete: %w", attempt.Request, err))
	}
	if !attempt.AboutOrphans() {
		if refused := p.Policy.Refusal(intended.Retirement); refused != ReasonNone {
			return refusal(attempt, refused), nil, nil
		}
	}
	for _, d := range work.dirs {
		d.emptied = slices.Contains(intended.Emptied, d.Directory)
	}
	begun = time.Now()
	each(pool, work.deletions(), func(g *deletion) {
		if g.err = Stopping(ctx); g.err == nil {
			g.err = p.Objects.Delete(ctx, g.Generation)
		}
	})
	p.took(StepDelete, begun)
	begun = time.Now()
	p.verify(ctx, pool, work)
	p.took(StepVerify, begun)
	return p.conclude(attempt, work)
}

// verify lists the directories that held something again, and in all of them what can be restored. It does both at the
// same time: the latter reads the bucket's settings, and neither depends on the other.
func (p *Purger) verify(ctx context.Context, pool pool, work *work) {
	since := time.Now()
	var looks []func()
	for _, d := range work.dirs {
		if d.err != nil || d.leave != "" {
			continue
		}
		if len(d.found) > 0 {
			looks = append(looks, func() { d.left, d.err = p.list(ctx, d) })
		}
		looks = append(looks, func() { d.soft, d.softErr = p.Objects.SoftDeleted(ctx, d.Directory, since) })
	}
	each(pool, looks, func(look func()) { look() })
	for _, d := range work.dirs {
		d.err = cmp.Or(d.err, d.softErr)
	}
}

// list lists a directory, and keeps the times of the listing for the evidence. A listing that failed proves nothing and
// is not kept.
func (p *Purger) list(ctx context.Context, d *directory) ([]Generation, error) {
	listing := Listing{Directory: d.Directory, Began: time.Now()}
	found, err := p.Objects.List(withPages(ctx, &listing.Pages), d.Directory)
	if err == nil {
		listing.Ended, listing.Generations = time.Now(), len(found)
		d.listings = append(d.listings, listing)
	}
	return found, err
}

// addProof adds the listings, and the settings of their buckets, to a report.
func (p *Purger) addProof(w *work, report *Report) {
	if w == nil {
		return
	}
	buckets := map[string]bool{}
	for _, d := range w.dirs {
		report.Listings = append(report.Listings, d.listings...)
		buckets[d.Bucket] = buckets[d.Bucket] || len(d.listings) > 0
	}
	if p.Settings == nil {
		return
	}
	for _, settings := range p.Settings() {
		if buckets[settings.Bucket] {
			report.Settings = append(report.Settings, settings)
		}
	}
}

// Eligible reports whether a user may be purged.
func (p Policy) Eligible(r Retirement) bool { return p.Refusal(r) == ReasonNone }

// Refusal says why a user may not be purged; ReasonNone if it may.
func (p Policy) Refusal(r Retirement) Reason {
	switch {
	case !r.UserExists:
		return ReasonUnknownUser
	case !r.Requested || r.State == StateUnknown || slices.Contains(p.ExcludedStates, r.State):
		return ReasonNotRetiring
	default:
		return ReasonNone
	}
}

// refusal is the report about a user who may not be purged. Nothing is cleared, not even references without files.
func refusal(attempt Attempt, reason Reason) Report {
	detail := fmt.Sprintf("user %d has no retirement request past the cancellable stage; nothing was touched",
		attempt.User)
	if reason == ReasonUnknownUser {
		detail = fmt.Sprintf("the LMS has no user %d", attempt.User)
	}
	return Report{State: Refused, Reason: reason, Detail: detail}
}

// conclude makes the report of the work, and derives the request's next state from the problems.
func (p *Purger) conclude(attempt Attempt, work *work, problems ...error) (Report, *work, error) {
	var report Report
	if work != nil {
		problems = append(problems, work.fillReport(p, attempt, &report)...)
	}
	if len(problems) == 0 {
		report.State = Done
		report.Reason, report.Detail = report.doneReason()
		return report, work, nil
	}
	report.Detail = describe(problems)
	failure := p.next(attempt, problems, &report)
	if report.State.Ended() {
		return report, work, nil
	}
	return report, work, failure
}

// next derives the request's next state from the classes of all problems. Problems that may pass by themselves take
// precedence: the request ends only if there are no others. next returns the failure for the queue.
func (p *Purger) next(attempt Attempt, problems []error, report *Report) error {
	until := map[Class]time.Time{}
	seen := map[Class]bool{}
	for _, problem := range problems {
		class := ClassOf(problem)
		seen[class] = true
		if e, ok := errors.AsType[*Error](problem); ok && (until[class].IsZero() || e.Until.Before(until[class])) {
			until[class] = e.Until // the earliest date: at least one file can be deleted then
		}
	}
	again := func(class Class, reason Reason) error {
		report.State, report.Reason, report.NotBefore = Queued, reason, until[class]
		return &Error{Class: class, Until: until[class], Text: report.Detail, Cause: errors.Join(problems...)}
	}
	end := func(reason Reason) error {
		report.State, report.Reason = Failed, reason
		return nil
	}
	switch {
	case seen[Stopped]:
		return again(Stopped, ReasonStopped)
	case seen[Misconfigured]:
		return again(Misconfigured, ReasonMisconfigured)
	case seen[Unavailable]:
		return again(Unavailable, ReasonUnavailable)
	case (seen[Throttled] || seen[Transient]) && p.tooOld(attempt):
		return end(ReasonGaveUp)
	case seen[Throttled]:
		return again(Throttled, ReasonThrottled)
	case seen[Transient] && attempt.Failures+1 < p.Policy.MaxAttempts:
		report.Counted = true
		return again(Transient, ReasonTransient)
	case seen[Transient]:
		report.Counted = true
		return end(ReasonGaveUp)
	case seen[NoPermission]:
		return end(ReasonNoPermission)
	case seen[Held]:
		return end(ReasonHeld)
	case seen[Unrecognised]:
		return end(ReasonUnrecognised)
	case seen[SharedDirectory]:
		return end(ReasonShared)
	case seen[TooManyObjects]:
		return end(ReasonTooMany)
	case seen[FilesMissing]:
		return end(ReasonFilesMissing)
	case seen[NotOrphan]:
		report.State, report.Reason = Refused, ReasonNotOrphan
		return nil
	case seen[Retained]:
		return again(Retained, ReasonRetained)
	default:
		return again(SoftDeleting, ReasonSoftDeleted)
	}
}

// doneReason returns the reason and the detail of a request that is done: with missing files that were accepted, with
// nothing to do, or none.
func (r *Report) doneReason() (Reason, string) {
	var accepters []string
	missing := 0
	for _, e := range r.Evidence {
		if e.Outcome == MissingAccepted {
			missing++
			if !slices.Contains(accepters, e.AcceptedBy) {
				accepters = append(accepters, e.AcceptedBy)
			}
		}
	}
	switch {
	case missing > 0:
		return ReasonFilesMissing, fmt.Sprintf("%d expected directories were empty, and nothing was ever erased there; "+
			"accepted by %s",
			missing, strings.Join(accepters, ", "))
	case len(r.Keep) > 0 && len(r.Clear) == 0 && !r.has(Erased):
		return ReasonNothingToPurge, fmt.Sprintf("%d links lead to no file of ours and stay", len(r.Keep))
	default:
		return ReasonNone, ""
	}
}

// has reports whether the evidence holds an outcome.
func (r *Report) has(outcome Outcome) bool {
	return slices.ContainsFunc(r.Evidence, func(e Evidence) bool { return e.Outcome == outcome })
}

func (p *Purger) tooOld(attempt Attempt) bool {
	return p.Policy.MaxAge > 0 && p.Now().Sub(attempt.OpenedAt) > p.Policy.MaxAge
}

// describe joins the problems' texts, each once, to at most maxDetail bytes.
func describe(problems []error) string {
	var texts []string
	for _, problem := range problems {
		if text := problem.Error(); !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	slices.SortFunc(texts, cmp.Compare[string]) // the same problems read the same, whichever came first
	detail := strings.Join(texts, "; ")
	if len(detail) > maxDetail {
		detail = strings.ToValidUTF8(detail[:maxDetail-3], "") + "..."
	}
	return detail
}

// maxDetail fits the ledger's column.
const maxDetail = 500
