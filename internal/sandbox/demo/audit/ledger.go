package audit

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/certpurge/certpurge/internal/evidence"
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
	histories := map[int]*evidence.History{}
	chains := map[purge.RequestID][]evidence.Stored{}
	err := c.query(ctx, "reading the evidence", func(rows *sql.Rows) error {
		var d evidence.Stored
		var hash []byte
		var at string // this connection does not read times
		if err := rows.Scan(&d.ID, &d.Request, &d.Number, &d.User, &d.Attempt, &d.Part, &at, &hash,
			&d.Text); err != nil {
			return err
		}
		copy(d.Hash[:], hash)
		var err error
		if d.At, err = time.Parse("2006-01-02 15:04:05.000000", at); err != nil {
			return fmt.Errorf("document %d: %w", d.ID, err)
		}
		chains[d.Request] = append(chains[d.Request], d)
		document, err := evidence.Decode(d.Text)
		if err != nil {
			return fmt.Errorf("document %d: %w", d.ID, err)
		}
		user := int(d.User)
		if histories[user] == nil {
			histories[user] = &evidence.History{}
		}
		histories[user].Add(d.ID, document)
		return nil
	}, "SELECT id, request_id, number, user_id, attempt, part, at, hash, document FROM "+quoted(c.Ledger)+
		".evidence_documents ORDER BY id")
	if err != nil {
		return err
	}
	for _, request := range slices.Sorted(maps.Keys(chains)) {
		for _, trouble := range evidence.CheckChain(chains[request], false) {
			c.count(&c.EvidenceGaps, "%s", trouble.Text)
		}
	}
	if err := c.anchors(ctx, chains); err != nil {
		return err
	}
	for _, user := range slices.Sorted(maps.Keys(histories)) {
		for _, row := range histories[user].Rows() {
			c.outcome(user, row)
		}
	}
	// What was not found, or is no file of ours, must be reported for exactly the users of whom it is true.
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

// outcome compares one row of the evidence with the buckets.
func (c *check) outcome(user int, row *evidence.Row) {
	k := dataset.Generation{Bucket: row.Directory.Bucket, Name: row.Name, Number: row.Generation}
	id := row.Document
	switch row.Outcome {
	case purge.Erased:
		if owner, ok := c.gone[k]; !ok || owner != user {
			c.count(&c.EvidenceGaps, "evidence %d: %v counts as erased for user %d, but is not gone, or not theirs, or "+
				"said before", id, k, user)
		}
		delete(c.gone, k)
	case purge.HeldBack, purge.KeptUntil:
		if owner, ok := c.want.HeldBack[k]; !ok || owner != user {
			c.count(&c.EvidenceGaps, "evidence %d: %v counts as %s for user %d, which it is not", id, k, row.Outcome, user)
		}
	case purge.Absent:
	case purge.Missing, purge.MissingAccepted, purge.External:
		c.reported[finding{user, string(row.Outcome)}] = true
	default:
		c.count(&c.EvidenceGaps, "evidence %d: %v is still %s", id, k, row.Outcome)
	}
}

// anchors compares the evidence with the anchors that were made of it.
func (c *check) anchors(ctx context.Context, chains map[purge.RequestID][]evidence.Stored) error {
	var marks []evidence.Mark
	for _, documents := range chains {
		for _, d := range documents {
			marks = append(marks, evidence.Mark{ID: d.ID, Hash: d.Hash})
		}
	}
	slices.SortFunc(marks, func(a, b evidence.Mark) int { return cmp.Compare(a.ID, b.ID) })
	var before evidence.Anchor
	return c.query(ctx, "reading the anchors", func(rows *sql.Rows) error {
		var a evidence.Anchor
		var hash []byte
		if err := rows.Scan(&a.ID, &a.After, &a.Last, &hash, &a.Documents); err != nil {
			return err
		}
		copy(a.Hash[:], hash)
		n, _ := slices.BinarySearchFunc(marks, a.Last+1, func(m evidence.Mark, id int64) int { return cmp.Compare(m.ID, id) })
		for _, trouble := range evidence.CheckAnchor(before, a, marks[:n]) {
			c.count(&c.EvidenceGaps, "%s", trouble.Text)
		}
		marks, before = marks[n:], a
		return nil
	}, "SELECT id, after_id, last_id, hash, documents FROM "+quoted(c.Ledger)+".anchors ORDER BY id")
}
