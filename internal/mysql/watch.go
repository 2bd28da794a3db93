package mysql

import (
	"context"
	"math"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// WatchPosition returns the user after whom the next round begins, and how long ago the latest one ended, by the clock
// of the server. If none has ever ended, that is the longest possible duration.
func (s *Store) WatchPosition(ctx context.Context) (after purge.UserID, ended time.Duration, err error) {
	position := struct {
		After purge.UserID
		Ago   *int64 // microseconds
	}{}
	err = s.read(ctx, "reading the position of the watcher", &position, "SELECT after_user_id AS after,"+
		" TIMESTAMPDIFF(MICROSECOND, ended_at, UTC_TIMESTAMP(6)) AS ago FROM watch_position WHERE id = 1")
	if position.Ago == nil || *position.Ago < 0 { // the clock was set back
		return position.After, math.MaxInt64, err
	}
	return position.After, time.Duration(*position.Ago) * time.Microsecond, err
}

// SaveWatchPosition stores after which user to continue, and whether a round has ended there.
func (s *Store) SaveWatchPosition(ctx context.Context, after purge.UserID, ended bool) error {
	_, err := s.exec(ctx, "writing down the position of the watcher", "INSERT INTO watch_position (id, after_user_id,"+
		" ended_at) VALUES (1, ?, IF(?, UTC_TIMESTAMP(6), NULL))"+
		" ON DUPLICATE KEY UPDATE after_user_id = VALUES(after_user_id), ended_at = COALESCE(VALUES(ended_at), ended_at)",
		after, ended)
	return err
}
