package mysql_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
)

// TestEveryReferenceIsRead has more rows than a page holds, most of them without a reference.
func TestEveryReferenceIsRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.Mixed)
	user := f.NewUser(purgetest.Retiring)
	first := f.NewReference(user, purge.Live, fmt.Sprintf("%032x", 1), fmt.Sprintf("%032x", 2), "https://example.org/1")
	table := f.db.LMS + "." + lms.Certificates
	columns := "course_id, verify_uuid, download_uuid, download_url, grade, `key`, distinction, status, mode, name, " +
		"created_date, modified_date, error_reason, user_id"
	for range 13 { // 2^13 rows
		f.db.Exec(t, "INSERT INTO "+table+" ("+columns+") SELECT CONCAT(UUID(), RAND()), '', '', '', grade, `key`, "+
			"distinction, status, mode, name, created_date, modified_date, error_reason, user_id FROM "+table)
	}
	last := f.NewReference(user, purge.Live, "", "", "https://example.org/2")
	old := f.NewReference(user, purge.History, fmt.Sprintf("%032x", 3), "", "")
	var got []purge.Reference
	err := f.EachReference(t.Context(), func(u purge.UserID, ref purge.Reference) error {
		if u != user {
			t.Errorf("got user %d, want %d", u, user)
		}
		got = append(got, ref)
		return nil
	})
	if want := []purge.Reference{first, last, old}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	enough := errors.New("enough")
	if err := f.EachReference(t.Context(), func(purge.UserID, purge.Reference) error { return enough }); !errors.Is(err,
		enough) {
		t.Errorf("got %v, want the caller's error", err)
	}

	f.db.Exec(t, "UPDATE "+table+" SET download_uuid = LPAD(HEX(id), 32, '0') WHERE id > ?", first.RowID)
	var sample []int64
	if err := f.SampleReferences(t.Context(), 4, func(_ purge.UserID, ref purge.Reference) error {
		if ref.Table == purge.Live {
			sample = append(sample, ref.RowID)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(sample) < 41 || !slices.IsSorted(sample) || sample[0] != first.RowID || sample[len(sample)-1] < last.RowID/2 {
		t.Errorf("got %d rows from %v to %v, want them spread", len(sample), sample[0], sample[len(sample)-1])
	}
}
