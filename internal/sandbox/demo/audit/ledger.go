package audit

import (
	"context"
	"database/sql"
	"maps"
	"slices"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/demo/dataset"
)

// requests compares how the requests stand with how they should, and their figures with what was seen.
func (c *check) requests(ctx context.Context) error {
	seen := map[int]bool{}
	err := c.query(ctx, "reading the requests", func(rows *sql.Rows) error {
		var id, user, erased, cleared int
		var end dataset.End
		if err := rows.Scan(&id, &user, &end.State, &end.Reason, &erased, &cleared); err != nil {
			return err
		}
		c.Ends[end]++
		want, expected := c.want.Ends[user]
		switch {
		case !expected:
			c.count(&c.UnexpectedEnds, "request %d is for user %d, which was not submitted", id, user)
		case seen[user]:
			c.count(&c.UnexpectedEnds, "request %d is a second one for user %d", id, user)
		case end != want:
			c.count(&c.UnexpectedEnds, "request %d of user %d is %s (%s), expected %s (%s)", id, user, end.State, end.Reason,
				want.State, want.Reason)
		}
		if erased != c.erased[user] {
			c.count(&c.EvidenceGaps, "request %d of user %d says %d objects erased, %d are gone", id, user, erased,
				c.erased[user])
		}
		if cleared != c.cleared[user] {
			c.count(&c.EvidenceGaps, "request %d of user %d says %d references cleared, %d are", id, user, cleared,
				c.cleared[user])
		}
		seen[user] = true
		return nil
	}, "SELECT id, user_id, state, reason, objects_erased, references_cleared FROM "+quoted(c.Ledger)+
		".requests ORDER BY id")
	for _, user := range slices.Sorted(maps.Keys(c.want.Ends)) {
		if want := c.want.Ends[user]; !seen[user] {
			c.count(&c.UnexpectedEnds, "user %d has no request, expected %s (%s)", user, want.State, want.Reason)
		}
	}
	return err
}

// evidence compares the evidence with the buckets, in both directions.
func (c *check) evidence(ctx context.Context) error {
	err := c.query(ctx, "reading the evidence", func(rows *sql.Rows) error {
		var id int64
		var user int
		var outcome string
		var k dataset.Generation
		if err := rows.Scan(&id, &user, &k.Bucket, &k.Name, &k.Number, &outcome); err != nil {
			return err
		}
		switch outcome {
		case "erased":
			if owner, ok := c.gone[k]; !ok || owner != user {
				c.count(&c.EvidenceGaps, "evidence %d: %v counts as erased for user %d, but is not gone, or not theirs, or "+
					"said before", id, k, user)
			}
			delete(c.gone, k)
		case "held", "retained":
			if owner, ok := c.want.HeldBack[k]; !ok || owner != user {
				c.count(&c.EvidenceGaps, "evidence %d: %v counts as %s for user %d, which it is not", id, k, outcome, user)
			}
		case "absent":
		case "missing", "missing_accepted", "external":
			c.reported[finding{user, outcome}] = true
		default:
			c.count(&c.EvidenceGaps, "evidence %d: %v is still %s", id, k, outcome)
		}
		return nil
	}, "SELECT id, user_id, bucket, name, generation, outcome FROM "+quoted(c.Ledger)+".evidence_objects ORDER BY id")
	if err != nil {
		return err
	}
	// What was not found, or is no file of ours, must be told for exactly the users of whom it is true.
	for user, end := range c.want.Ends {
		for outcome, want := range map[string]bool{
			"missing":          end == dataset.End{State: purge.Failed, Reason: purge.ReasonFilesMissing},
			"missing_accepted": end == dataset.End{State: purge.Done, Reason: purge.ReasonFilesMissing},
			"external":         c.want.External[user],
		} {
			if c.reported[finding{user, outcome}] != want {
				c.count(&c.EvidenceGaps, "user %d: the evidence says %s: %v, expected %v", user, outcome, !want, want)
			}
		}
	}
	for k, user := range c.gone {
		c.count(&c.EvidenceGaps, "%v of user %d is gone without evidence", k, user)
	}
	return nil
}
