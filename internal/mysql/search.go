package mysql

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// Search chooses requests for a page. Zero fields choose all. The order is newest first: by id, or, if a period is
// given, by the time at which the requests ended.
type Search struct {
	IDs       []purge.RequestID
	Key       string // idempotency key, as Accept got it
	User      purge.UserID
	State     purge.State
	Reason    purge.Reason
	Sources   []purge.Source // one of these
	By        string         // a part of requested_by
	Ticket    string         // of the request, or of one who opened it again or submitted it again
	EndedFrom time.Time
	EndedTo   time.Time // before this time
}

// Position is where a search stands in its order. The zero value is its beginning.
type Position struct {
	ID purge.RequestID
	At time.Time // at which the request ended; zero if the order is by id
}

// Bounds limit what one search reads.
type Bounds struct {
	Page  int // requests that are returned
	Count int // requests that are counted; 0 counts none, and the search ends with its page
	Check int // rows that are checked; 0 for no limit
}

// Hits are what a search has found.
type Hits struct {
	Requests []Request
	Counts   []Tally // by state and reason, of those that were found before a bound was reached; nil if none were counted
	Whole    bool    // no bound was reached: Counts are all that there are
	Checked  int     // rows
	Next     *Position
}

// searchChunk is how many rows of an index are read at a time.
const searchChunk = 1_000

// Search finds requests from a position on. It walks along the index that fits the filter best, and checks for each
// row the conditions that the index does not cover: Bounds.Check limits how many.
func (s *Store) Search(ctx context.Context, f Search, after Position, b Bounds) (Hits, error) {
	if f.Key != "" {
		var err error
		if f, err = s.withKey(ctx, f); err != nil || len(f.IDs) == 0 {
			return Hits{Whole: true}, err
		}
	}
	w, err := s.newSearcher(ctx, f, after, b)
	if err != nil {
		return Hits{}, classify("searching requests", err)
	}
	var hits Hits
	var page []purge.RequestID
	counts, found := map[Tally]int64{}, 0
	var last Position // that was checked
	for {
		full := len(page) == b.Page
		if full && found > len(page) && found >= b.Count || b.Check > 0 && hits.Checked >= b.Check {
			break
		}
		c, err := w.next(ctx)
		if err != nil {
			return Hits{}, classify("searching requests", err)
		}
		if c == nil {
			hits.Whole = true
			break
		}
		hits.Checked++
		if last = c.position; !c.hit {
			continue
		}
		found++
		counts[Tally{State: c.state, Reason: c.reason}]++
		if full {
			continue
		}
		page = append(page, c.position.ID)
		if len(page) == b.Page {
			hits.Next = &c.position
		}
	}
	switch {
	case hits.Whole && found == len(page): // this is the last page
		hits.Next = nil
	case hits.Next == nil:
		hits.Next = &last
	}
	if b.Count > 0 {
		hits.Counts = tallied(counts)
	}
	hits.Requests, err = s.inOrder(ctx, page)
	return hits, err
}

// EachFound calls do for all that a search finds, page by page.
func (s *Store) EachFound(ctx context.Context, f Search, do func([]Request) error) error {
	for after := (Position{}); ; {
		hits, err := s.Search(ctx, f, after, Bounds{Page: acceptBatch})
		if err != nil {
			return err
		}
		if len(hits.Requests) > 0 {
			if err := do(hits.Requests); err != nil {
				return err
			}
		}
		if hits.Next == nil {
			return nil
		}
		after = *hits.Next
	}
}

// withKey turns the key into the id of its request.
func (s *Store) withKey(ctx context.Context, f Search) (Search, error) {
	asked := f.IDs
	f.IDs = nil
	err := each(ctx, s.sql, func(rows *sql.Rows) error {
		var id purge.RequestID
		err := rows.Scan(&id)
		if len(asked) == 0 || slices.Contains(asked, id) {
			f.IDs = append(f.IDs, id)
		}
		return err
	}, "SELECT id FROM requests WHERE idempotency_key = ? UNION SELECT request_id FROM request_keys"+
		" WHERE idempotency_key = ?", f.Key, f.Key)
	return f, classify("searching requests", err)
}

func tallied(counts map[Tally]int64) []Tally {
	all := []Tally{}
	for t, n := range counts {
		t.Count = n
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b Tally) int {
		return cmp.Or(cmp.Compare(a.State, b.State), cmp.Compare(a.Reason, b.Reason))
	})
	return all
}

// inOrder reads requests, in the order of the ids.
func (s *Store) inOrder(ctx context.Context, ids []purge.RequestID) ([]Request, error) {
	rows, err := s.Requests(ctx, ids)
	slices.SortFunc(rows, func(a, b Request) int {
		return cmp.Compare(slices.Index(ids, a.ID), slices.Index(ids, b.ID))
	})
	return rows, err
}

// candidate is a row of an index, and whether it fulfils the other conditions.
type candidate struct {
	position Position
	state    purge.State
	reason   purge.Reason
	hit      bool
}

// searcher merges arms: one for each state and reason, because only then each of them reads no more than a chunk of an
// index. Of an IN, the server would sort all that match for each chunk.
type searcher struct {
	store *Store
	arms  []*arm
	byEnd bool   // the order is by the time of the end
	hit   string // the condition that decides about a candidate
	args  []any
	first int // size of the first one of each arm
}

// arm is a range of an index.
type arm struct {
	index string
	where []string
	args  []any
	after Position
	rows  []candidate
	limit int // of the latest chunk
	done  bool
}

func (s *Store) newSearcher(ctx context.Context, f Search, after Position, b Bounds) (*searcher, error) {
	w := &searcher{store: s, first: searchChunk}
	period := !f.EndedFrom.IsZero() || !f.EndedTo.IsZero()
	base := arm{after: after}
	var states []purge.State // of the arms; nil: one arm for all
	switch {
	case len(f.IDs) > 0:
		base.add("id IN ("+tuples("?", len(f.IDs))+")", anys(f.IDs)...)
	case f.User != 0:
		base.index = "requests_user"
		base.add("user_id = ?", f.User)
	case period:
		base.index, w.byEnd = "requests_since", true
		states = []purge.State{purge.Done, purge.Refused, purge.Failed}
	case f.Reason != "" || f.State != "":
		base.index, states = "requests_state", purge.States()
	default:
		base.index = "PRIMARY"
	}
	if f.State != "" && states != nil {
		states = slices.DeleteFunc(slices.Clone(states), func(state purge.State) bool { return state != f.State })
	}
	for _, end := range []struct {
		at        time.Time
		condition string
	}{{f.EndedFrom, " >= ?"}, {f.EndedTo, " < ?"}} {
		if w.byEnd && !end.at.IsZero() {
			base.add("since"+end.condition, end.at.UTC())
		} else {
			w.require(!end.at.IsZero(), "finished_at"+end.condition, end.at.UTC())
		}
	}
	w.require(len(f.IDs) > 0 && f.User != 0, "user_id = ?", f.User)
	w.require(f.State != "" && states == nil, "state = ?", f.State)
	w.require(f.Reason != "" && states == nil, "reason = ?", f.Reason)
	w.require(f.By != "", "LOCATE(?, requested_by) > 0", f.By)
	w.require(f.Ticket != "", "(ticket = ? OR EXISTS (SELECT 1 FROM events WHERE events.request_id = requests.id AND"+
		" events.ticket = ?))", f.Ticket, f.Ticket)
	w.require(len(f.Sources) > 0, "source IN ("+tuples("?", len(f.Sources))+")", anys(f.Sources)...)
	if w.hit == "" {
		w.hit = "1"
		if b.Count == 0 { // all candidates are hits, and one more shows whether there is another page
			w.first = b.Page + 1
		}
	}
	if states == nil {
		w.arms = []*arm{&base}
		return w, nil
	}
	if len(states) == 0 { // an open request did not end in any period
		return w, nil
	}
	standings, err := s.standings(ctx, states, f.Reason)
	for _, at := range standings {
		a := base
		a.where, a.args = slices.Clone(base.where), slices.Clone(base.args)
		a.add("state = ? AND reason = ?", at.State, at.Reason)
		w.arms = append(w.arms, &a)
	}
	w.first = w.first/max(len(w.arms), 1) + 1 // all first chunks together are one; those of the longest arms grow
	return w, err
}

// require adds a condition that no index covers.
func (w *searcher) require(wanted bool, condition string, args ...any) {
	if !wanted {
		return
	}
	if w.hit != "" {
		w.hit += " AND "
	}
	w.hit += condition
	w.args = append(w.args, args...)
}

func (a *arm) add(condition string, args ...any) {
	a.where, a.args = append(a.where, condition), append(a.args, args...)
}

// next returns the next candidate in the search's order; nil at its end.
func (w *searcher) next(ctx context.Context) (*candidate, error) {
	var first *arm
	for _, a := range w.arms {
		if len(a.rows) == 0 && !a.done {
			if err := w.fill(ctx, a); err != nil {
				return nil, err
			}
		}
		if len(a.rows) > 0 && (first == nil || w.before(a.rows[0].position, first.rows[0].position)) {
			first = a
		}
	}
	if first == nil {
		return nil, nil
	}
	c := first.rows[0]
	first.rows, first.after = first.rows[1:], c.position
	return &c, nil
}

func (w *searcher) before(a, b Position) bool {
	if w.byEnd && !a.At.Equal(b.At) {
		return a.At.After(b.At)
	}
	return a.ID > b.ID
}

// fill reads the next chunk of an arm.
func (w *searcher) fill(ctx context.Context, a *arm) error {
	limit := w.first
	if a.limit > 0 {
		limit = min(2*a.limit, searchChunk)
	}
	a.limit = limit
	text, order := "SELECT id, since, state, reason, COALESCE("+w.hit+", 0) FROM requests", "id DESC"
	if a.index != "" { // left to itself, the server may sort all that match
		text += " FORCE INDEX (" + a.index + ")"
	}
	where, args := slices.Clone(a.where), slices.Concat(w.args, a.args)
	switch {
	case w.byEnd:
		order = "since DESC, id DESC"
		if a.after.ID != 0 {
			where = append(where, "since <= ?", "(since < ? OR id < ?)")
			args = append(args, a.after.At.UTC(), a.after.At.UTC(), a.after.ID)
		}
	case a.after.ID != 0:
		where, args = append(where, "id < ?"), append(args, a.after.ID)
	}
	if len(where) > 0 {
		text += " WHERE " + strings.Join(where, " AND ")
	}
	err := each(ctx, w.store.sql, func(rows *sql.Rows) error {
		var c candidate
		var end sql.NullTime
		err := rows.Scan(&c.position.ID, &end, &c.state, &c.reason, &c.hit)
		if w.byEnd {
			c.position.At = end.Time
		}
		a.rows = append(a.rows, c)
		return err
	}, text+" ORDER BY "+order+" LIMIT ?", append(args, limit)...)
	a.done = len(a.rows) < limit
	return err
}
