package mysql

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/certpurge/certpurge/internal/purge"
)

// Request is a row of the ledger's table requests.
type Request struct {
	ID                 purge.RequestID     `gorm:"primaryKey" json:"request_id"`
	IdempotencyKey     string              `json:"-"` // the caller's; it may hold anything
	UserID             purge.UserID        `json:"user_id"`
	CertificateID      purge.CertificateID `json:"certificate_id,omitempty"` // this one only; 0: all of the user's
	Source             purge.Source        `json:"source"`
	State              purge.State         `json:"state"`
	Reason             purge.Reason        `json:"reason,omitempty"`
	Detail             string              `json:"detail,omitempty"`
	Attempts           int                 `gorm:"->;column:attempts_made" json:"attempts"`
	Failures           int                 `json:"failures"`
	Certificates       int                 `json:"certificates"`
	ObjectsErased      int                 `json:"objects_erased"`
	ObjectsAbsent      int                 `json:"objects_absent"`
	ObjectsSoftDeleted int                 `json:"objects_soft_deleted"`
	DirectoriesMissing int                 `json:"directories_missing"`
	ReferencesCleared  int                 `json:"references_cleared"`
	ReferencesKept     int                 `json:"references_kept"`
	AcceptMissingBy    string              `json:"accept_missing_by,omitempty"`
	AcceptSharedBy     string              `json:"accept_shared_by,omitempty"`
	RequestedBy        string              `json:"requested_by,omitempty"` // who made it, by which face, from where
	Ticket             string              `json:"ticket,omitempty"`       // the caller's own reference
	ReopenedBy         string              `json:"reopened_by,omitempty"`  // who opened it again last
	RecoverableUntil   *time.Time          `json:"recoverable_until,omitempty"`
	NotBefore          *time.Time          `json:"not_before,omitempty"`
	Unfinished         int                 `json:"-"`
	RequestedAt        time.Time           `json:"requested_at"`
	OpenedAt           time.Time           `json:"opened_at"`
	StartedAt          *time.Time          `json:"started_at,omitempty"`
	FinishedAt         *time.Time          `json:"finished_at,omitempty"`
	UpdatedAt          time.Time           `gorm:"autoUpdateTime:false" json:"-"`
}

// AfterFind is called by gorm for each row. Earlier versions left the time of the first attempt in a request that was
// opened again.
func (r *Request) AfterFind(*gorm.DB) error {
	if r.StartedAt != nil && r.StartedAt.Before(r.OpenedAt) {
		r.StartedAt = nil
	}
	return nil
}

// Open is what a task needs to know of the request.
func (r Request) Open() purge.OpenRequest {
	return purge.OpenRequest{Request: r.ID, User: r.UserID, Certificate: r.CertificateID, Source: r.Source}
}

// reopen is what Reopen writes. The fence moves: an attempt from before the end must not end the request again.
const reopen = "UPDATE IGNORE requests SET state = 'queued', reason = '', detail = '', failures = 0, unfinished = 0," +
	" opened_at = ?, attempts = attempts + 1, reopened = reopened + 1, reopened_by = ?, accept_missing_by = ?," +
	" accept_shared_by = ?, not_before = NULL, started_at = NULL, finished_at = NULL, updated_at = ? WHERE id IN "

// Reopen queues ended requests again, with a fresh budget, and returns how many. Those that are open stay as they are,
// and so do those of whose scope another one is open: IGNORE leaves out rows that a unique key refuses. The events of
// those that were opened are in the same transaction.
func (s *Store) Reopen(ctx context.Context, ids []purge.RequestID, r purge.Reopening) (int, error) {
	reopened := 0
	for part := range slices.Chunk(ids, acceptBatch) {
		n, err := s.reopenSome(ctx, part, r)
		for try := 1; err != nil && lostRace(err) && try < acceptTries; try++ {
			n, err = s.reopenSome(ctx, part, r)
		}
		if err != nil {
			return reopened, classify("opening requests again", err)
		}
		reopened += n
	}
	return reopened, nil
}

// reopenSome locks those that have ended. Of these, those that are queued after the UPDATE were opened by it.
func (s *Store) reopenSome(ctx context.Context, ids []purge.RequestID, r purge.Reopening) (n int, err error) {
	now := s.now()
	var ended, opened []purge.RequestID // of this try
	into := func(list *[]purge.RequestID) func(*sql.Rows) error {
		return func(rows *sql.Rows) error {
			*list = append(*list, 0)
			return rows.Scan(&(*list)[len(*list)-1])
		}
	}
	err = s.onConnection(ctx, func(conn *sql.Conn) error {
		var lock, change, record script
		lock.add("START TRANSACTION")
		lock.add("SELECT id FROM requests WHERE id IN ("+tuples("?", len(ids))+") AND state IN ('done', 'refused', 'failed')"+
			" ORDER BY id FOR UPDATE", anys(ids)...)
		if err := send(ctx, conn, &lock, into(&ended)); err != nil {
			return err
		}
		if len(ended) > 0 {
			list := "(" + tuples("?", len(ended)) + ")"
			change.add(reopen+list, slices.Concat([]any{
				now, cut(r.By, 160), cut(r.AcceptMissing, 128),
				cut(r.AcceptShared, 128), now,
			}, anys(ended))...)
			change.add("SELECT id FROM requests WHERE id IN "+list+" AND state = 'queued' ORDER BY id", anys(ended)...)
			if err := send(ctx, conn, &change, into(&opened)); err != nil {
				return err
			}
		}
		var events []event
		for _, id := range opened {
			events = append(events, newEvent(id, eventReopened, r))
			events = append(events, acceptances(id, r, "", "")...)
		}
		addEvents(&record, events, now)
		record.add("COMMIT")
		return send(ctx, conn, &record)
	})
	return len(opened), err
}

// accept notes at open requests who accepts what in this run, and writes an event where that is new. What is empty
// stays as it is.
func (s *Store) accept(ctx context.Context, ids []purge.RequestID, r purge.Reopening) error {
	for part := range slices.Chunk(ids, acceptBatch) {
		if err := s.acceptSome(ctx, part, r); err != nil {
			return classify("accepting what is in doubt", err)
		}
	}
	return nil
}

func (s *Store) acceptSome(ctx context.Context, ids []purge.RequestID, r purge.Reopening) error {
	now := s.now()
	changes, args := "updated_at = ?", []any{now}
	for _, c := range []struct{ column, by string }{
		{"accept_missing_by", r.AcceptMissing}, {"accept_shared_by", r.AcceptShared},
	} {
		if c.by != "" {
			changes, args = changes+", "+c.column+" = ?", append(args, cut(c.by, 128))
		}
	}
	return s.onConnection(ctx, func(conn *sql.Conn) error {
		var events []event
		var open []any
		var lock, change script
		lock.add("START TRANSACTION")
		lock.add("SELECT id, accept_missing_by, accept_shared_by FROM requests WHERE id IN ("+tuples("?", len(ids))+
			") AND state IN ('queued', 'running') ORDER BY id FOR UPDATE", anys(ids)...)
		err := send(ctx, conn, &lock, func(rows *sql.Rows) error {
			var id purge.RequestID
			var missing, shared string
			err := rows.Scan(&id, &missing, &shared)
			open, events = append(open, id), append(events, acceptances(id, r, missing, shared)...)
			return err
		})
		if err != nil {
			return err
		}
		if len(open) > 0 {
			change.add("UPDATE requests SET "+changes+" WHERE id IN ("+tuples("?", len(open))+")", append(args, open...)...)
		}
		addEvents(&change, events, now)
		change.add("COMMIT")
		return send(ctx, conn, &change)
	})
}

// Filter chooses requests. Zero fields choose all.
type Filter struct {
	IDs         []purge.RequestID
	States      []purge.State
	Reason      purge.Reason
	User        purge.UserID
	Key         string // idempotency key, as Accept got it
	EndedBefore time.Time
}

// EachRequest calls do for every request that the filter chooses, in the order of ids, page by page: however many there
// are, only one page is in memory.
func (s *Store) EachRequest(ctx context.Context, f Filter, do func([]Request) error) error {
	for last := purge.RequestID(0); ; {
		rows, err := s.RequestsAfter(ctx, f, last, acceptBatch)
		if err != nil || len(rows) == 0 {
			return err
		}
		if err := do(rows); err != nil {
			return err
		}
		last = rows[len(rows)-1].ID
	}
}

// ticketRange is how many ids of requests are looked through for a ticket at a time: there is no index on tickets.
const ticketRange = 10_000

// EachOfTicket calls do for every request that was made with exactly this ticket, or of which an event has it, in the
// order of ids.
func (s *Store) EachOfTicket(ctx context.Context, ticket string, do func([]Request) error) error {
	last, err := s.lastRequest(ctx)
	if err != nil {
		return err
	}
	for from := int64(0); from < last; from += ticketRange {
		var found []Request
		// Compared as bytes: the collation of the columns takes a for A.
		err := s.gorm.WithContext(ctx).Raw("SELECT * FROM requests r WHERE r.id > ? AND r.id <= ? AND ("+
			"CAST(r.ticket AS BINARY) = CAST(? AS BINARY) OR EXISTS (SELECT 1 FROM events e WHERE e.request_id = r.id AND"+
			" CAST(e.ticket AS BINARY) = CAST(? AS BINARY))) ORDER BY r.id", from, from+ticketRange, ticket, ticket).
			Find(&found).Error
		if err != nil {
			return classify("reading requests", err)
		}
		if len(found) == 0 {
			continue
		}
		if err := do(found); err != nil {
			return err
		}
	}
	return nil
}

// lastRequest is the highest id of a request; 0 if there is none.
func (s *Store) lastRequest(ctx context.Context) (last int64, err error) {
	err = s.read(ctx, "reading requests", &last, "SELECT COALESCE(MAX(id), 0) FROM requests")
	return last, err
}

// RequestsAfter returns the first requests that the filter chooses, in the order of ids after a given one.
func (s *Store) RequestsAfter(ctx context.Context, f Filter, after purge.RequestID, limit int) ([]Request, error) {
	db := s.gorm.WithContext(ctx)
	q := db.Model(&Request{})
	if f.byState() {
		standings, err := s.standings(ctx, f.States, f.Reason)
		if err != nil || len(standings) == 0 {
			return nil, classify("reading requests", err)
		}
		arms := f.arms(db, standings, after, limit)
		ids := db.Table("((?)"+strings.Repeat(" UNION ALL (?)", len(arms)-1)+") arms", arms...).Order("id").Limit(limit)
		q = q.Joins("JOIN (?) page ON page.id = requests.id", ids)
	} else {
		q = f.conditions(q, after)
		if len(f.States) > 0 {
			q = q.Where("state IN ?", f.States)
		}
		if f.Reason != "" {
			q = q.Where("reason = ?", f.Reason)
		}
	}
	var rows []Request
	return rows, classify("reading requests", q.Order("requests.id").Limit(limit).Find(&rows).Error)
}

// byState reports whether a page is read along the index of states and reasons, because nothing else chooses far fewer
// rows.
func (f Filter) byState() bool {
	return len(f.IDs) == 0 && f.User == 0 && f.Key == "" && (len(f.States) > 0 || f.Reason != "")
}

// arms are the SELECTs of the ids of a page of requests: one for each state and reason, because each of them reads no
// more than a page from an index. Of an IN, the server would sort all that match for each page, or walk through all
// other requests in the order of ids. MySQL chooses so even for a single state, without the hint.
func (f Filter) arms(db *gorm.DB, standings []standing, after purge.RequestID, limit int) (arms []any) {
	for _, at := range standings {
		arms = append(arms, f.conditions(db.Table("requests FORCE INDEX (requests_state)").Select("id"), after).
			Where("state = ? AND reason = ?", at.State, at.Reason).Order("id").Limit(limit))
	}
	return arms
}

// standing is where requests stand: in a state, for a reason.
type standing struct {
	State  purge.State
	Reason purge.Reason
}

// standings are those of which there are requests, in some states or all; of a reason, all that there may be.
func (s *Store) standings(ctx context.Context, states []purge.State, reason purge.Reason) ([]standing, error) {
	if len(states) == 0 {
		states = purge.States()
	}
	if reason != "" {
		all := make([]standing, len(states))
		for i, state := range states {
			all[i] = standing{state, reason}
		}
		return all, nil
	}
	var all []standing
	err := s.gorm.WithContext(ctx).Raw(existingStandings, states, states, knownReasons).Scan(&all).Error
	return all, err
}

var knownReasons = append(purge.Reasons(), purge.ReasonNone)

// existingStandings looks each known pair up in the index, then everything between the known reasons: a later version
// may have others. The server reads one entry for each. It finds them as fast by DISTINCT if its statistics are good,
// and reads the whole index if they are not.
var existingStandings = "SELECT s.state, k.reason FROM (" + texts("state", purge.States()) + ") s CROSS JOIN (" +
	texts("reason", knownReasons) + ") k WHERE s.state IN ? AND (SELECT 1 FROM requests r FORCE INDEX (requests_state)" +
	" WHERE r.state = s.state AND r.reason = k.reason LIMIT 1) = 1 UNION ALL (SELECT DISTINCT state, reason" +
	" FROM requests FORCE INDEX (requests_state) WHERE state IN ? AND reason NOT IN ?)"

// texts is a table of texts, which compare with the ledger's columns as those do with each other.
func texts[T ~string](column string, all []T) string {
	rows := make([]string, len(all))
	for i, text := range all {
		rows[i] = "SELECT CONVERT('" + string(text) + "' USING ascii) COLLATE ascii_bin AS " + column
	}
	return strings.Join(rows, " UNION ALL ")
}

// conditions adds those that are not about state and reason.
func (f Filter) conditions(q *gorm.DB, after purge.RequestID) *gorm.DB {
	q = q.Where("id > ?", after)
	if len(f.IDs) > 0 {
		q = q.Where("id IN ?", f.IDs)
	}
	if f.User != 0 {
		q = q.Where("user_id = ?", f.User)
	}
	if f.Key != "" {
		q = q.Where("id IN (SELECT id FROM (SELECT id FROM requests WHERE idempotency_key = ?"+
			" UNION SELECT request_id FROM request_keys WHERE idempotency_key = ?) named)", f.Key, f.Key)
	}
	if !f.EndedBefore.IsZero() {
		q = q.Where("finished_at < ?", f.EndedBefore.UTC())
	}
	return q
}

// Tally is a number of requests in one state for one reason.
type Tally struct {
	State  purge.State  `json:"state"`
	Reason purge.Reason `json:"reason"`
	Count  int64        `json:"count"`
}

// Tallies counts all requests by state and reason.
func (s *Store) Tallies(ctx context.Context) ([]Tally, error) {
	var tallies []Tally
	err := s.gorm.WithContext(ctx).Model(&Request{}).Select("state, reason, COUNT(*) AS count").
		Group("state, reason").Order("state, reason").Scan(&tallies).Error
	return tallies, classify("counting requests", err)
}

// Requests returns the requests with these ids, oldest first.
func (s *Store) Requests(ctx context.Context, ids []purge.RequestID) ([]Request, error) {
	var all []Request
	for part := range slices.Chunk(ids, acceptBatch) {
		var rows []Request
		if err := s.gorm.WithContext(ctx).Where("id IN ?", part).Order("id").Find(&rows).Error; err != nil {
			return nil, classify("reading requests", err)
		}
		all = append(all, rows...)
	}
	return all, nil
}
