package mysql

import (
	"context"
	"errors"
	"fmt"
	"slices"

	driversql "github.com/go-sql-driver/mysql"

	"github.com/certpurge/certpurge/internal/purge"
)

// ErrNoArguments means that the LMS's table of arguments says nothing that may be run.
var ErrNoArguments = errors.New("the LMS's table of arguments cannot be used")

// CommandArguments returns the arguments in the newest row of the configuration of upstream's command
// purge_references_to_pdf_certificates. No row, one that is not enabled, and an LMS without the table are
// ErrNoArguments.
func (s *Store) CommandArguments(ctx context.Context) (string, error) {
	var rows []struct {
		Enabled   bool
		Arguments string
	}
	err := s.gorm.WithContext(ctx).Raw("SELECT enabled, arguments FROM " + s.tables.arguments +
		" ORDER BY change_date DESC, id DESC LIMIT 1").Scan(&rows).Error
	if e, ok := errors.AsType[*driversql.MySQLError](err); ok && e.Number == erNoSuchTable {
		return "", fmt.Errorf("%w: there is no %s; this LMS is older than its command", ErrNoArguments, s.tables.arguments)
	}
	switch {
	case err != nil:
		return "", classify("reading the table of arguments", err)
	case len(rows) == 0:
		return "", fmt.Errorf("%w: it has no row", ErrNoArguments)
	case !rows[0].Enabled:
		return "", fmt.Errorf("%w: its newest row is not enabled", ErrNoArguments)
	}
	return rows[0].Arguments, nil
}

// Owners returns the users of certificates, of deleted ones too if the history knows them. Others are missing.
func (s *Store) Owners(ctx context.Context, ids []purge.CertificateID) (map[purge.CertificateID]purge.UserID, error) {
	owners := make(map[purge.CertificateID]purge.UserID, len(ids))
	// The live row comes last: it knows best.
	for _, from := range []string{
		s.tables.history + " WHERE id IN ? AND user_id IS NOT NULL ORDER BY history_id",
		s.tables.certificates + " WHERE id IN ?",
	} {
		for part := range slices.Chunk(ids, acceptBatch) {
			var rows []struct {
				ID     purge.CertificateID
				UserID purge.UserID
			}
			if err := s.read(ctx, "looking up certificates", &rows, "SELECT id, user_id FROM "+from, part); err != nil {
				return nil, err
			}
			for _, row := range rows {
				owners[row.ID] = row.UserID
			}
		}
	}
	return owners, nil
}
