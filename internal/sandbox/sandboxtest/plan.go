package sandboxtest

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"testing"
)

// RowsRead is how many rows and index entries the server has read since its start, by its own count. It is of use on a
// server of the test's own.
func (d *Database) RowsRead(tb testing.TB) (total int) {
	tb.Helper()
	rows, err := d.Root.QueryContext(tb.Context(), "SHOW GLOBAL STATUS LIKE 'Handler_read_%'")
	if err != nil {
		tb.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var n int
		if err := rows.Scan(&name, &n); err != nil {
			tb.Fatal(err)
		}
		if name != "Handler_read_rnd_deleted" && name != "Handler_read_retry" {
			total += n
		}
	}
	if err := rows.Err(); err != nil {
		tb.Fatal(err)
	}
	return total
}

// Access is how a statement reads one table.
type Access struct {
	Table string // its alias
	Type  string // const, ref, range, …; index and ALL walk through all of it
	Key   string // the index; empty for none
	Rows  int    // that the server expects to read each time
	Only  bool   // the index alone is read
}

// Walks reports whether the whole table, or the whole of an index, is read.
func (a Access) Walks() bool { return a.Type == "ALL" || a.Type == "index" }

// Plan is how the server would run a statement in a database.
func (d *Database) Plan(tb testing.TB, database, statement string, args ...any) []Access {
	tb.Helper()
	text, err := d.explain(tb.Context(), database, statement, args)
	if err != nil {
		tb.Fatalf("explaining %s: %v", statement, err)
	}
	var plan any
	if err := json.Unmarshal([]byte(text), &plan); err != nil {
		tb.Fatalf("reading the plan of %s: %v\n%s", statement, err, text)
	}
	return accesses(plan)
}

func (d *Database) explain(ctx context.Context, database, statement string, args []any) (plan string, err error) {
	conn, err := d.Root.Conn(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "USE `"+database+"`"); err != nil {
		return "", err
	}
	// MySQL 8.3 and newer have two forms of plans. The older is the one that all versions share, MariaDB too.
	_, _ = conn.ExecContext(ctx, "SET explain_json_format_version = 1")
	err = conn.QueryRowContext(ctx, "EXPLAIN FORMAT=JSON "+statement, args...).Scan(&plan)
	return plan, err
}

// accesses collects the tables of a plan, at any depth.
func accesses(node any) (found []Access) {
	switch node := node.(type) {
	case []any:
		for _, child := range node {
			found = append(found, accesses(child)...)
		}
	case map[string]any:
		if table, ok := node["table_name"].(string); ok {
			found = append(found, access(table, node))
		}
		for _, name := range slices.Sorted(maps.Keys(node)) {
			found = append(found, accesses(node[name])...)
		}
	}
	return found
}

func access(table string, node map[string]any) Access {
	a := Access{Table: table}
	a.Type, _ = node["access_type"].(string)
	a.Key, _ = node["key"].(string)
	a.Only, _ = node["using_index"].(bool)
	for _, name := range []string{"rows_examined_per_scan", "rows"} { // of MySQL, of MariaDB
		if rows, ok := node[name].(float64); ok {
			a.Rows = int(rows)
		}
	}
	return a
}
