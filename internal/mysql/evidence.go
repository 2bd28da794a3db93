package mysql

import (
	"context"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// EvidenceRecord is one line of evidence: an object generation, or the clearing of a certificate's links.
type EvidenceRecord struct {
	ID                int64               `json:"-"`
	Kind              string              `json:"kind"` // object, links
	RequestID         purge.RequestID     `json:"request_id"`
	UserID            purge.UserID        `json:"user_id"`
	CertificateID     purge.CertificateID `json:"certificate_id"`
	SourceTable       purge.Table         `json:"source_table"`
	Attempt           int                 `json:"attempt"`
	Bucket            string              `json:"bucket,omitempty"`
	Name              string              `json:"object,omitempty"`
	Generation        int64               `json:"generation,omitempty"`
	Size              int64               `json:"size,omitempty"`
	CacheControl      string              `json:"cache_control,omitempty"`
	Outcome           purge.Outcome       `json:"outcome"`
	Until             *time.Time          `json:"until,omitempty"`
	AcceptedBy        string              `json:"accepted_by,omitempty"` // who accepted a doubt about the directory
	ReferencesCleared int                 `json:"references_cleared,omitempty"`
	ListedAt          *time.Time          `json:"listed_at,omitempty"`
	At                *time.Time          `json:"at"` // settled, or cleared; none for an intent that is not settled yet
}

// EvidenceFilter chooses evidence: of a user, of a period (from Since, before Until), or of both.
type EvidenceFilter struct {
	User         purge.UserID
	Since, Until time.Time
}

// EachEvidence calls do for every piece of evidence that the filter chooses: objects first, then links. That of a user
// comes in the order of its ids, other evidence in the order in which it was settled. Only one page is in memory.
// Intents that are not settled appear for a user only.
func (s *Store) EachEvidence(ctx context.Context, f EvidenceFilter, do func(EvidenceRecord) error) error {
	const objects = "SELECT id, 'object' AS kind, request_id, user_id, certificate_id, source_table, attempt, bucket, " +
		"name, generation, size," +
		" cache_control, outcome, until, accepted_by, listed_at, settled_at AS at FROM evidence_objects"
	const links = "SELECT id, 'links' AS kind, request_id, user_id, certificate_id, source_table, attempt, " +
		"references_cleared," +
		" 'cleared' AS outcome, cleared_at AS at FROM evidence"
	for _, part := range []struct{ text, at, index string }{
		{objects, "settled_at", "evidence_objects_settled"}, {links, "cleared_at", "evidence_cleared"},
	} {
		if f.User == 0 {
			// Left to itself, the server sorts the whole period for each page, or reads all that is older.
			part.text += " FORCE INDEX (" + part.index + ")"
		}
		if err := s.eachEvidence(ctx, part.text, part.at, f, do); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) eachEvidence(ctx context.Context, text, at string, f EvidenceFilter,
	do func(EvidenceRecord) error,
) error {
	var last EvidenceRecord
	for {
		condition, args := f.after(last, at)
		var rows []EvidenceRecord
		err := s.gorm.WithContext(ctx).Raw(text+" WHERE "+condition+" LIMIT ?",
			append(args, acceptBatch)...).Scan(&rows).Error
		if err != nil {
			return classify("reading evidence", err)
		}
		if len(rows) == 0 {
			return nil
		}
		for _, r := range rows {
			if err := do(r); err != nil {
				return err
			}
		}
		last = rows[len(rows)-1]
	}
}

// after is the condition on the rows behind the last one, and their order. at is the column of the time.
func (f EvidenceFilter) after(last EvidenceRecord, at string) (condition string, args []any) {
	order := "id"
	if f.User != 0 {
		condition, args = "id > ? AND user_id = ?", []any{last.ID, f.User}
		if !f.Since.IsZero() {
			condition, args = condition+" AND "+at+" >= ?", append(args, f.Since.UTC())
		}
	} else {
		order = at + ", id"
		since := f.Since
		if last.At != nil {
			since = *last.At
		}
		condition, args = at+" >= ? AND ("+at+" > ? OR id > ?)", []any{since.UTC(), since.UTC(), last.ID}
	}
	if !f.Until.IsZero() {
		condition, args = condition+" AND "+at+" < ?", append(args, f.Until.UTC())
	}
	return condition + " ORDER BY " + order, args
}
