package purgetest

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// FakeStore is the fake of both databases: the LMS's retirements and references, and the ledger.
type FakeStore struct {
	ClearHistory bool
	Now          func() time.Time

	mu       sync.Mutex
	users    map[purge.UserID]purge.Retirement
	rows     []*row
	owners   map[string]map[purge.UserID]bool // whose rows name, or named, an id
	requests []*request
	keys     map[string]*request
	evidence map[evidenceKey]purge.Evidence
	cleared  map[purge.RequestID]int

	// Fail, if set, is asked before each call ("user", "begin", "intend", "record") and may make it fail.
	Fail func(step string) error
}

type row struct {
	user purge.UserID
	ref  purge.Reference
}

type request struct {
	id purge.RequestID
	scope
	state    purge.State
	reason   purge.Reason
	opened   time.Time
	ticket   string
	accepts  purge.Reopening // who accepts what, in this run
	leased   time.Time
	keys     int // that lead here, beside the first
	attempts int
	fence    int
	failures int
	lapsed   int // attempts in a row whose lease ran out and that recorded nothing
	report   purge.Report
}

// scope is what a request is about.
type scope struct {
	user        purge.UserID
	certificate purge.CertificateID // 0 for all of the user's
}

type evidenceKey struct {
	request purge.RequestID
	bucket  string
	name    string
	number  int64
}

// NewFakeStore makes empty books.
func NewFakeStore() *FakeStore {
	return &FakeStore{
		ClearHistory: true, Now: time.Now, users: map[purge.UserID]purge.Retirement{}, keys: map[string]*request{},
		owners:   map[string]map[purge.UserID]bool{},
		evidence: map[evidenceKey]purge.Evidence{}, cleared: map[purge.RequestID]int{},
	}
}

func (b *FakeStore) enter(ctx context.Context, step string) error {
	if b.Fail != nil {
		if err := b.Fail(step); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// SetUser says what the LMS knows of a user's retirement.
func (b *FakeStore) SetUser(id purge.UserID, r purge.Retirement) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.users[id] = r
}

// AddReference adds a row that holds a reference.
func (b *FakeStore) AddReference(user purge.UserID, ref purge.Reference) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows = append(b.rows, &row{user, ref})
	b.remember(user, ref)
}

// Remove takes all rows of a user away.
func (b *FakeStore) Remove(user purge.UserID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows = slices.DeleteFunc(b.rows, func(r *row) bool { return r.user == user })
}

// References returns the user's rows that still hold a reference.
func (b *FakeStore) References(user purge.UserID) []purge.Reference {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.references(user)
}

func (b *FakeStore) references(user purge.UserID) []purge.Reference {
	var refs []purge.Reference
	for _, r := range b.rows {
		if r.user == user && (r.ref.DownloadUUID != "" || r.ref.DownloadURL != "") {
			refs = append(refs, r.ref)
		}
	}
	slices.SortStableFunc(refs, func(x, y purge.Reference) int {
		if x.Table == y.Table {
			return int(x.RowID - y.RowID)
		}
		if x.Table == purge.Live {
			return -1
		}
		return 1
	})
	return refs
}

func (b *FakeStore) left(s scope, kept ...purge.Reference) bool {
	user := purge.User{References: b.references(s.user)}
	return slices.ContainsFunc(user.Of(s.certificate), func(r purge.Reference) bool {
		return (r.Table == purge.Live || b.ClearHistory) && !slices.Contains(kept, r)
	})
}

// User implements purge.Users.
func (b *FakeStore) User(ctx context.Context, id purge.UserID) (purge.User, error) {
	if err := b.enter(ctx, "user"); err != nil {
		return purge.User{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return purge.User{Retirement: b.users[id], References: b.references(id)}, nil
}

// Sharing implements purge.Users. Rows are remembered as they were when they were added.
func (b *FakeStore) Sharing(ctx context.Context, user purge.UserID, ids []string) ([]purge.Shared, error) {
	if err := b.enter(ctx, "sharing"); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var shared []purge.Shared
	for _, id := range ids {
		for owner := range b.owners[id] {
			if owner != user {
				shared = append(shared, purge.Shared{ID: id, Other: owner})
			}
		}
		for _, r := range b.rows { // changed since
			if r.user != user && r.ref.VerifyUUID == id && !b.owners[id][r.user] {
				shared = append(shared, purge.Shared{ID: id, Other: r.user})
			}
		}
	}
	return shared, nil
}

// remember notes whose row names which ids.
func (b *FakeStore) remember(user purge.UserID, ref purge.Reference) {
	for _, text := range []string{ref.DownloadUUID, ref.VerifyUUID, ref.DownloadURL} {
		for _, id := range idPattern.FindAllString(text, -1) {
			id = strings.ToLower(id)
			if b.owners[id] == nil {
				b.owners[id] = map[purge.UserID]bool{}
			}
			b.owners[id][user] = true
		}
	}
}

var idPattern = regexp.MustCompile(`(?i)[0-9a-f]{32}`)

// Begin implements purge.Ledger.
func (b *FakeStore) Begin(ctx context.Context, task purge.Task) (purge.Attempt, error) {
	if err := b.enter(ctx, "begin"); err != nil {
		return purge.Attempt{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.find(task.Request)
	if r == nil || r.user != task.User {
		return purge.Attempt{}, purge.ErrUnknownRequest
	}
	attempt := purge.Attempt{
		Task:   purge.Task{Request: r.id, User: r.user, Certificate: r.certificate},
		Counts: b.counts(r),
	}
	if !r.state.Ended() {
		if r.state == purge.Running && r.leased.Before(b.Now()) {
			r.lapsed++
		}
		r.state, r.leased = purge.Running, b.Now().Add(purge.LeaseDuration)
		r.attempts++
		r.fence++
		attempt.Number, attempt.Fence, attempt.Lapsed, attempt.OpenedAt = r.attempts, r.fence, r.lapsed, r.opened
		attempt.AcceptMissing, attempt.AcceptShared = r.accepts.AcceptMissing, r.accepts.AcceptShared
	}
	attempt.State, attempt.Reason, attempt.Failures = r.state, r.reason, r.failures
	return attempt, nil
}

// Extend implements purge.Ledger.
func (b *FakeStore) Extend(ctx context.Context, attempt purge.Attempt) error {
	if err := b.enter(ctx, "extend"); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := b.find(attempt.Request); r != nil && r.state == purge.Running && r.fence == attempt.Fence {
		r.leased = b.Now().Add(purge.LeaseDuration)
	}
	return nil
}

// Intend implements purge.Ledger.
func (b *FakeStore) Intend(
	ctx context.Context, attempt purge.Attempt, intents []purge.Evidence, empty []purge.Directory,
) (purge.Intended, error) {
	if err := b.enter(ctx, "intend"); err != nil {
		return purge.Intended{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.write(attempt, intents)
	intended := purge.Intended{Retirement: b.users[attempt.User]}
	for _, dir := range empty {
		emptied, kept := false, false
		for key, e := range b.evidence {
			if b.find(key.request).user == attempt.User && e.Generation.Directory == dir {
				file := !purge.IsPlaceholder(e.Generation.Name)
				emptied, kept = emptied || e.Outcome.Emptied() && file, kept || e.Outcome.Kept()
			}
		}
		if emptied && !kept {
			intended.Emptied = append(intended.Emptied, dir)
		}
	}
	return intended, nil
}

// Record implements purge.Ledger.
func (b *FakeStore) Record(ctx context.Context, attempt purge.Attempt, report purge.Report) (purge.Recorded, error) {
	if err := b.enter(ctx, "record"); err != nil {
		return purge.Recorded{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.find(attempt.Request)
	if r == nil {
		return purge.Recorded{}, purge.ErrUnknownRequest
	}
	for _, c := range report.Clear {
		for _, ref := range c.References {
			b.cleared[r.id] += b.clear(attempt.User, ref)
		}
	}
	b.settle(attempt, report)
	b.end(r, attempt, report)
	b.judge(r)
	return purge.Recorded{State: r.state, Reason: r.reason, Counts: b.counts(r)}, nil
}

// clear empties a row that still holds exactly what was read.
func (b *FakeStore) clear(user purge.UserID, ref purge.Reference) int {
	for _, row := range b.rows {
		if row.user == user && row.ref == ref {
			row.ref.DownloadUUID, row.ref.DownloadURL = "", ""
			return 1
		}
	}
	return 0
}

func (b *FakeStore) settle(attempt purge.Attempt, report purge.Report) {
	for key, e := range b.evidence {
		cleared := slices.ContainsFunc(report.Clear,
			func(c purge.Clearing) bool { return c.CertificateID == e.CertificateID })
		if key.request == attempt.Request && e.Outcome == purge.Missing && report.State == purge.Done && cleared {
			e.Outcome = purge.Absent // the files were somewhere else, and are erased there
			b.evidence[key] = e
		}
	}
	for _, e := range report.Evidence {
		known := false
		for key, other := range b.evidence {
			known = known || b.find(key.request).user == attempt.User && other.Generation.Directory == e.Generation.Directory
		}
		if e.Outcome != purge.Absent || !known {
			b.write(attempt, []purge.Evidence{e})
		}
	}
	for key, e := range b.evidence {
		restorable := e.Outcome == purge.SoftDeleted && e.Until.After(b.Now())
		if b.find(key.request).user == attempt.User && e.Outcome.Emptied() && !restorable &&
			slices.Contains(report.Proven, e.Generation.Directory) {
			e.Outcome, e.Until = purge.Erased, time.Time{}
			b.evidence[key] = e
		}
	}
}

func (b *FakeStore) end(r *request, attempt purge.Attempt, report purge.Report) {
	if report.State == purge.Done {
		if b.left(r.scope, report.Keep...) {
			return
		}
		if r.state == purge.Failed || !r.state.Ended() { // failed: another attempt gave up too early
			r.move(report)
		}
	} else if !r.state.Ended() && r.fence == attempt.Fence &&
		(report.Reason != purge.ReasonFilesMissing || r.accepts.AcceptMissing == attempt.AcceptMissing) &&
		(report.Reason != purge.ReasonShared || r.accepts.AcceptShared == attempt.AcceptShared) {
		r.move(report)
	}
}

// judge says what a request that is done is worth, by all of its attempts.
func (b *FakeStore) judge(r *request) {
	c := b.counts(r)
	if r.state != purge.Done {
		return
	}
	if c.DirectoriesMissing > 0 {
		r.reason = purge.ReasonFilesMissing
	} else if r.reason == purge.ReasonNothingToPurge && c.ReferencesCleared > 0 {
		r.reason = purge.ReasonNone // whatever the last attempt met, the request has purged
	}
}

func (r *request) move(report purge.Report) {
	if report.Counted {
		r.failures++
	}
	report.Certificates = max(r.report.Certificates, report.Certificates)
	r.state, r.reason, r.report, r.lapsed = report.State, report.Reason, report, 0
	if report.State.Ended() {
		r.accepts = purge.Reopening{}
	}
}

func (b *FakeStore) write(attempt purge.Attempt, all []purge.Evidence) {
	for _, e := range all {
		g := e.Generation
		key := evidenceKey{attempt.Request, g.Directory.Bucket, g.Name, g.Number}
		if b.evidence[key].Outcome != purge.Erased || e.Outcome == purge.SoftDeleted { // erased is final
			b.evidence[key] = e
		}
	}
}

func (b *FakeStore) counts(r *request) purge.Counts {
	counts := purge.Counts{Certificates: r.report.Certificates, ReferencesCleared: b.cleared[r.id]}
	certificates := map[purge.CertificateID]bool{}
	for key, e := range b.evidence {
		if key.request != r.id {
			continue
		}
		certificates[e.CertificateID] = true
		switch e.Outcome {
		case purge.Erased:
			counts.ObjectsErased++
		case purge.Absent:
			counts.ObjectsAbsent++
		case purge.SoftDeleted:
			counts.ObjectsSoftDeleted++
		case purge.Missing, purge.MissingAccepted:
			counts.DirectoriesMissing++
		default:
		}
	}
	counts.Certificates = max(counts.Certificates, len(certificates))
	return counts
}

func (b *FakeStore) find(id purge.RequestID) *request {
	if id < 1 || int(id) > len(b.requests) {
		return nil
	}
	return b.requests[id-1]
}

// Accept implements purge.Requests.
func (b *FakeStore) Accept(ctx context.Context, submissions []purge.Submission) ([]purge.Accepted, error) {
	if err := b.enter(ctx, "accept"); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	scopes, keys := map[string]scope{}, map[scope]int{}
	for key, r := range b.keys {
		scopes[key] = r.scope
	}
	for _, w := range submissions {
		s := scope{w.User, w.Certificate}
		other, taken := scopes[w.Key]
		if taken && other != s {
			return nil, fmt.Errorf("user %d: %w", w.User, purge.ErrKeyTaken)
		}
		if open := b.open(s); !taken && open != nil && w.HasOwnKey() {
			if keys[s]++; open.keys+keys[s] > purge.MaxKeys {
				return nil, fmt.Errorf("request %d: %w", open.id, purge.ErrTooManyKeys)
			}
		}
		scopes[w.Key] = s
	}
	var accepted []purge.Accepted
	for _, w := range submissions {
		accepted = append(accepted, b.accept(w))
	}
	return accepted, nil
}

// open is the open request of a scope, if there is one.
func (b *FakeStore) open(s scope) *request {
	i := slices.IndexFunc(b.requests, func(r *request) bool { return r.scope == s && !r.state.Ended() })
	if i < 0 {
		return nil
	}
	return b.requests[i]
}

func (b *FakeStore) accept(w purge.Submission) purge.Accepted {
	s := scope{w.User, w.Certificate}
	r, open := b.keys[w.Key], b.open(s)
	switch {
	case r == nil && open == nil:
		r = &request{
			id: purge.RequestID(len(b.requests) + 1), scope: s, state: purge.Queued, opened: b.Now(), accepts: w.Reopening(),
			ticket: w.Ticket,
		}
		b.requests, b.keys[w.Key] = append(b.requests, r), r
		return purge.Accepted{
			Request: r.id, User: w.User, Certificate: w.Certificate, Found: purge.FoundNew, Open: true, Ticket: r.ticket,
		}
	case r == nil:
		r, b.keys[w.Key] = open, open
		r.keys++
	case r.state.Ended() && open != nil && !w.Replay:
		r = open
	}
	a := purge.Accepted{
		Request: r.id, User: w.User, Certificate: w.Certificate, Found: purge.Found(r.state), Open: true,
		Attempts: r.attempts, Ticket: r.ticket,
	}
	switch {
	case w.Replay && r.state.Ended(), r.state == purge.Done && !b.left(r.scope):
		a.Open, a.Reason = false, r.reason
	case r.state.Ended():
		r.state, r.reason, r.failures, r.lapsed, r.opened, r.accepts = purge.Queued, purge.ReasonNone, 0, 0, b.Now(),
			w.Reopening()
		r.fence++ // an attempt from before the end must not end it again
	default:
		if w.AcceptMissing != "" {
			r.accepts.AcceptMissing = w.AcceptMissing
		}
		if w.AcceptShared != "" {
			r.accepts.AcceptShared = w.AcceptShared
		}
	}
	return a
}

// Evidence returns the outcomes of a request's objects by name.
func (b *FakeStore) Evidence(id purge.RequestID) map[string]purge.Outcome {
	b.mu.Lock()
	defer b.mu.Unlock()
	outcomes := map[string]purge.Outcome{}
	for key, e := range b.evidence {
		if key.request == id {
			outcomes[fmt.Sprintf("%s#%d", key.name, key.number)] = e.Outcome
		}
	}
	return outcomes
}
