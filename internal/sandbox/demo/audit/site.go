package audit

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/certpurge/certpurge/internal/gcs/gcstest"
)

// Site says where to look.
type Site struct {
	DB      *sql.DB // an account that may read everything
	LMS     string  // database of the LMS
	Ledger  string  // database of the ledger
	Server  *gcstest.Server
	Buckets []string
}

// Snapshot is all that was stored at one moment.
type Snapshot struct {
	tables  map[string]*table
	objects map[string][]gcstest.Object // by bucket; ordered by name, then generation
}

// Take makes a snapshot. Nothing may be at work on the site meanwhile.
func (s Site) Take(ctx context.Context) (*Snapshot, error) {
	snapshot := &Snapshot{tables: map[string]*table{}, objects: map[string][]gcstest.Object{}}
	names, err := s.tables(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		t, err := s.describe(ctx, name)
		if err != nil {
			return nil, err
		}
		err = s.read(ctx, t, func(id int64, cells string) { t.ids, t.rows = append(t.ids, id), append(t.rows, cells) })
		if err != nil {
			return nil, err
		}
		snapshot.tables[name] = t
	}
	for _, bucket := range s.Buckets {
		snapshot.objects[bucket] = s.Server.Objects(bucket, "")
	}
	return snapshot, nil
}

// Figures are the sizes of a snapshot.
type Figures struct {
	Rows, Generations int
}

// Figures counts what there was.
func (s *Snapshot) Figures() Figures {
	var f Figures
	for _, t := range s.tables {
		f.Rows += len(t.rows)
	}
	for _, objects := range s.objects {
		f.Generations += len(objects)
	}
	return f
}

// query runs a query and calls each for every row.
func (s Site) query(ctx context.Context, doing string, each func(*sql.Rows) error, statement string,
	args ...any,
) error {
	rows, err := s.DB.QueryContext(ctx, statement, args...)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows); err != nil {
			return fmt.Errorf("%s: %w", doing, err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}
