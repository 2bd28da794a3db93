package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// OpenRequests returns requests that are queued or running, in the order of their scopes after a given one, or from the
// first if it is the zero value: those that were not touched since a moment, and that do not wait for a date.
func (s *Store) OpenRequests(ctx context.Context, after purge.OpenRequest, untouchedSince time.Time,
	limit int,
) (open []purge.OpenRequest, err error) {
	// Only open requests have an open_scope. Without the hint, MySQL may walk through all that have ended.
	err = s.read(ctx, "looking for open requests", &open, "SELECT id AS request, user_id AS user,"+
		" certificate_id AS certificate, source"+
		" FROM requests FORCE INDEX (requests_open_scope) WHERE open_scope > ? AND updated_at < ?"+
		" AND (not_before IS NULL OR not_before < ?) ORDER BY open_scope LIMIT ?",
		scope{after.User, after.Certificate}.number(), untouchedSince, s.now(), limit)
	return open, err
}

// The locks of which each is held by one process at a time. Locks are per server, so the schema is part of their names.
const (
	reconcileLock = "certpurge_reconcile:%.40s"
	watchLock     = "certpurge_watch:%.40s"
	notifyLock    = "certpurge_notify:%.40s"
)

// Lead makes the caller the leading reconciler, unless another process is; release ends that. The lock goes with its
// connection, so a leader that dies makes room at once.
func (s *Store) Lead(ctx context.Context) (release func(), leading bool, err error) {
	return s.lead(ctx, reconcileLock)
}

// LeadWatch is Lead for watchers.
func (s *Store) LeadWatch(ctx context.Context) (release func(), leading bool, err error) {
	return s.lead(ctx, watchLock)
}

// LeadNotify is Lead for processes that send notifications.
func (s *Store) LeadNotify(ctx context.Context) (release func(), leading bool, err error) {
	return s.lead(ctx, notifyLock)
}

func (s *Store) lead(ctx context.Context, lock string) (release func(), leading bool, err error) {
	conn, err := s.sql.Conn(ctx)
	if err != nil {
		return nil, false, classify("connecting to MySQL", err)
	}
	name := fmt.Sprintf(lock, s.ledger)
	var locked sql.NullInt64
	if err := conn.QueryRowContext(ctx, "SELECT GET_LOCK(?, 0)", name).Scan(&locked); err != nil || locked.Int64 != 1 {
		_ = conn.Close() // nothing was done on it
		return nil, false, classify("asking to lead", err)
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
		defer cancel()
		if _, err := conn.ExecContext(ctx, "DO RELEASE_LOCK(?)", name); err != nil {
			discard(conn) // a pooled connection must not go on leading
		}
		_ = conn.Close() // back to the pool, or gone already
	}, true, nil
}

// releaseTime bounds the giving back of a lock while stopping.
const releaseTime = 5 * time.Second
