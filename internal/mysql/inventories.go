package mysql

import (
	"context"
	"time"
)

// Inventory is the result of one run of worker inventory.
type Inventory struct {
	ID             int64
	Started, Ended time.Time
	Software       string
	Complete       bool   // false: it failed, and nothing can be said
	Report         []byte // JSON
}

// AddInventory writes a result down.
func (s *Store) AddInventory(ctx context.Context, i Inventory) error {
	_, err := s.exec(ctx, "writing the inventory to the ledger", "INSERT INTO inventories (started_at, ended_at,"+
		" software, complete, report) VALUES (?, ?, ?, ?, ?)", i.Started.UTC(), i.Ended.UTC(), cut(i.Software, 64),
		i.Complete, i.Report)
	return err
}

// Inventories returns the newest results without their reports, the newest one first.
func (s *Store) Inventories(ctx context.Context, limit int) (all []Inventory, err error) {
	err = s.read(ctx, "reading inventories", &all, "SELECT id, started_at AS started, ended_at AS ended, software,"+
		" complete FROM inventories ORDER BY id DESC LIMIT ?", limit)
	return all, err
}

// InventoryReport returns the report of a result.
func (s *Store) InventoryReport(ctx context.Context, id int64) (report []byte, err error) {
	err = s.sql.QueryRowContext(ctx, "SELECT report FROM inventories WHERE id = ?", id).Scan(&report)
	return report, classify("reading an inventory", err)
}
