package audit

import (
	"context"
	"slices"
	"strings"

	"github.com/certpurge/certpurge/internal/sandbox/demo/dataset"
)

// The two columns that a purge may change, and only to the empty text.
const (
	downloadUUID = "download_uuid"
	downloadURL  = "download_url"
)

// tables compares the whole LMS database.
func (c *check) tables(ctx context.Context) error {
	names, err := c.Site.tables(ctx)
	if err != nil {
		return err
	}
	for name := range c.before.tables {
		if !slices.Contains(names, name) {
			c.count(&c.ForeignRowsTouched, "table %s is gone", name)
		}
	}
	for _, name := range names {
		before, ok := c.before.tables[name]
		if !ok {
			c.count(&c.ForeignRowsTouched, "table %s is new", name)
			continue
		}
		after, err := c.describe(ctx, name)
		if err != nil {
			return err
		}
		if after.definition != before.definition {
			c.count(&c.ForeignRowsTouched, "table %s is defined differently", name)
		}
		if err := c.rows(ctx, before, after); err != nil {
			return err
		}
	}
	return nil
}

// rows walks through both states of a table, which have the same order.
func (c *check) rows(ctx context.Context, before, after *table) error {
	next := 0
	vanished := func() {
		c.count(&c.ForeignRowsTouched, "%s %d is gone", before.name, before.ids[next])
		next++
	}
	err := c.read(ctx, after, func(id int64, cells string) {
		for next < len(before.ids) && before.ids[next] < id {
			vanished()
		}
		if next == len(before.ids) || before.ids[next] != id {
			c.count(&c.ForeignRowsTouched, "%s %d is new", before.name, id)
			return
		}
		c.row(before, dataset.Row{Table: before.name, ID: id}, before.rows[next], cells)
		next++
	})
	for next < len(before.ids) && err == nil {
		vanished()
	}
	return err
}

// row compares one row.
func (c *check) row(t *table, key dataset.Row, before, after string) {
	user, clearing := c.want.Cleared[key]
	_, keeping := c.want.Kept[key]
	changed := differing(t, before, after)
	others := slices.DeleteFunc(slices.Clone(changed),
		func(column string) bool { return column == downloadUUID || column == downloadURL })
	switch {
	case clearing:
		if len(others) > 0 {
			c.count(&c.ForeignRowsTouched, "%s %d: %s changed", t.name, key.ID, strings.Join(others, ", "))
		}
		if c.underWay && len(changed) == 0 {
			return // its time will come
		}
		if holdsReference(t, after) { // half a clearing is none, and never seen: both columns go in one statement
			c.count(&c.ReferencesLeft, "%s %d: its reference is still there", t.name, key.ID)
			return
		}
		c.ReferencesCleared++
		c.cleared[user]++
	case keeping && len(changed) == 0:
		c.ReferencesHeldBack++
	case keeping && len(others) == 0:
		c.count(&c.HeldBackLost, "%s %d: the reference of a file that is still there changed", t.name, key.ID)
	case len(changed) > 0:
		c.count(&c.ForeignRowsTouched, "%s %d: %s changed", t.name, key.ID, strings.Join(changed, ", "))
	}
}

// differing names the columns whose bytes differ.
func differing(t *table, before, after string) []string {
	if before == after {
		return nil
	}
	was, is := unpack(before), unpack(after)
	if len(was) != len(is) {
		return []string{"the number of columns"}
	}
	var columns []string
	for i := range was {
		if was[i] != is[i] {
			columns = append(columns, t.columns[i])
		}
	}
	return columns
}

// holdsReference reports whether either of the two columns holds anything.
func holdsReference(t *table, packed string) bool {
	for i, cell := range unpack(packed) {
		if (t.columns[i] == downloadUUID || t.columns[i] == downloadURL) && cell != "" {
			return true
		}
	}
	return false
}
