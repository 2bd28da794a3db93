package mysql

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/certpurge/certpurge/internal/purge"
)

// Request is a row of the ledger's table requests.
type Request struct {
	ID                 purge.RequestID `gorm:"primaryKey" json:"request_id"`
	IdempotencyKey     string          `json:"-"` // the caller's; it may hold anything
	UserID             purge.UserID    `json:"user_id"`
	Source             purge.Source    `json:"source"`
	State              purge.State     `json:"state"`
	Reason             purge.Reason    `json:"reason,omitempty"`
	Detail             string          `json:"detail,omitempty"`
	Attempts           int             `json:"attempts"`
	Failures           int             `json:"failures"`
	Certificates       int             `json:"certificates"`
	ObjectsErased      int             `json:"objects_erased"`
	ObjectsAbsent      int             `json:"objects_absent"`
	ObjectsSoftDeleted int             `json:"objects_soft_deleted"`
	ReferencesCleared  int             `json:"references_cleared"`
	RecoverableUntil   *time.Time      `json:"recoverable_until,omitempty"`
	NotBefore          *time.Time      `json:"not_before,omitempty"`
	Unfinished         int             `json:"-"`
	RequestedAt        time.Time       `json:"requested_at"`
	OpenedAt           time.Time       `json:"opened_at"`
	StartedAt          *time.Time      `json:"started_at,omitempty"`
	FinishedAt         *time.Time      `json:"finished_at,omitempty"`
	UpdatedAt          time.Time       `gorm:"autoUpdateTime:false" json:"-"`
}

// acceptBatch is how many requests one INSERT carries. Larger ones gain nothing and hold their locks longer.
const acceptBatch = 500

// Accept makes or finds a request for each wish. Its statements may be repeated by anybody at any time: the unique key
// decides who made a request.
func (s *Store) Accept(ctx context.Context, wishes []purge.Wish) ([]purge.Accepted, error) {
	before, err := s.byKey(ctx, wishes)
	if err != nil {
		return nil, err
	}
	var fresh []Request
	now := s.now()
	for _, w := range wishes {
		if found, ok := before[w.Key]; ok {
			if found.UserID != w.User {
				return nil, fmt.Errorf("user %d: %w", w.User, purge.ErrKeyTaken)
			}
			continue
		}
		fresh = append(fresh, Request{
			IdempotencyKey: w.Key, UserID: w.User, Source: w.Source, State: purge.Queued, RequestedAt: now, OpenedAt: now, UpdatedAt: now,
		})
	}
	after := before
	if len(fresh) > 0 {
		err := s.gorm.WithContext(ctx).Clauses(clause.OnConflict{DoNothing: true}).CreateInBatches(&fresh, acceptBatch).Error
		if err != nil {
			return nil, classify("writing requests to the ledger", err)
		}
		if after, err = s.byKey(ctx, wishes); err != nil { // the ids, also of those that somebody else made just now
			return nil, err
		}
	}
	closed, err := s.reopen(ctx, wishes, before)
	if err != nil {
		return nil, err
	}
	accepted := make([]purge.Accepted, len(wishes))
	for i, w := range wishes {
		row, ok := after[w.Key]
		if !ok || row.UserID != w.User {
			return nil, fmt.Errorf("user %d: %w", w.User, purge.ErrKeyTaken)
		}
		accepted[i] = purge.Accepted{Request: row.ID, User: w.User, Found: purge.FoundNew, Open: !closed[row.ID]}
		if earlier, ok := before[w.Key]; ok {
			accepted[i].Found, accepted[i].Attempts = purge.Found(earlier.State), earlier.Attempts
			if earlier.State.Ended() && accepted[i].Open {
				accepted[i].Attempts++ // opening counts, see Reopen
			}
		}
	}
	return accepted, nil
}

// byKey reads the requests that carry the wishes' keys.
func (s *Store) byKey(ctx context.Context, wishes []purge.Wish) (map[string]Request, error) {
	keys := make([]string, len(wishes))
	for i, w := range wishes {
		keys[i] = w.Key
	}
	found := make(map[string]Request, len(keys))
	for len(keys) > 0 {
		n := min(len(keys), acceptBatch)
		var rows []Request
		err := s.gorm.WithContext(ctx).Select("id, idempotency_key, user_id, state, attempts").Where("idempotency_key IN ?", keys[:n]).Find(&rows).Error
		if err != nil {
			return nil, classify("looking up requests", err)
		}
		for _, r := range rows {
			found[r.IdempotencyKey] = r
		}
		keys = keys[n:]
	}
	return found, nil
}

// reopen queues ended requests again, but for those that are done and have nothing left to do, and those that a replay
// asks for; it returns the others.
func (s *Store) reopen(ctx context.Context, wishes []purge.Wish, before map[string]Request) (map[purge.RequestID]bool, error) {
	var ended []Request
	var doneUsers []purge.UserID
	closed := map[purge.RequestID]bool{}
	for _, w := range wishes {
		if r, ok := before[w.Key]; ok && r.State.Ended() {
			if w.Replay {
				closed[r.ID] = true
				continue
			}
			ended = append(ended, r)
			if r.State == purge.Done {
				doneUsers = append(doneUsers, r.UserID)
			}
		}
	}
	left := map[purge.UserID]bool{}
	for len(doneUsers) > 0 {
		n := min(len(doneUsers), acceptBatch)
		some, err := s.withReferences(ctx, doneUsers[:n])
		if err != nil {
			return nil, classify("asking the LMS database", err)
		}
		for id := range some {
			left[id] = true
		}
		doneUsers = doneUsers[n:]
	}
	var again []purge.RequestID
	for _, r := range ended {
		if r.State == purge.Done && !left[r.UserID] {
			closed[r.ID] = true
		} else {
			again = append(again, r.ID)
		}
	}
	_, err := s.Reopen(ctx, again)
	return closed, err
}

// Reopen queues ended requests again, with a fresh budget, and returns how many. Those that are open stay as they are.
func (s *Store) Reopen(ctx context.Context, ids []purge.RequestID) (int, error) {
	reopened := 0
	for part := range slices.Chunk(ids, acceptBatch) {
		result := s.gorm.WithContext(ctx).Model(&Request{}).
			Where("id IN ? AND state IN ?", part, []purge.State{purge.Done, purge.Refused, purge.Failed}).
			Updates(map[string]any{
				"state": purge.Queued, "reason": "", "detail": "", "failures": 0, "unfinished": 0, "opened_at": s.now(),
				"attempts":   gorm.Expr("attempts + 1"), // an attempt from before the end must not end it again
				"not_before": nil, "finished_at": nil, "updated_at": s.now(),
			})
		if result.Error != nil {
			return reopened, classify("opening requests again", result.Error)
		}
		reopened += int(result.RowsAffected)
	}
	return reopened, nil
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

// RequestsAfter returns the first requests that the filter chooses, in the order of ids after a given one.
func (s *Store) RequestsAfter(ctx context.Context, f Filter, after purge.RequestID, limit int) ([]Request, error) {
	q := s.gorm.WithContext(ctx).Where("id > ?", after).Order("id").Limit(limit)
	if len(f.IDs) > 0 {
		q = q.Where("id IN ?", f.IDs)
	}
	if len(f.States) > 0 {
		q = q.Where("state IN ?", f.States)
	}
	if f.Reason != "" {
		q = q.Where("reason = ?", f.Reason)
	}
	if f.User != 0 {
		q = q.Where("user_id = ?", f.User)
	}
	if f.Key != "" {
		q = q.Where("idempotency_key = ?", f.Key)
	}
	if !f.EndedBefore.IsZero() {
		q = q.Where("finished_at < ?", f.EndedBefore.UTC())
	}
	var rows []Request
	return rows, classify("reading requests", q.Find(&rows).Error)
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
	for len(ids) > 0 {
		n := min(len(ids), acceptBatch)
		var rows []Request
		if err := s.gorm.WithContext(ctx).Where("id IN ?", ids[:n]).Order("id").Find(&rows).Error; err != nil {
			return nil, classify("reading requests", err)
		}
		all, ids = append(all, rows...), ids[n:]
	}
	return all, nil
}
