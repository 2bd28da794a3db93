package sandboxtest

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
)

// DumpTable returns all rows of a table of the LMS, or of another database when the name is "database.table", in the
// order of the primary key. A row maps the names of columns to values, byte for byte as stored; a column that is NULL
// is missing, so that two dumps compare exactly.
func (d *Database) DumpTable(tb testing.TB, table string) []map[string]string {
	tb.Helper()
	dump, err := d.dump(tb, table)
	if err != nil {
		tb.Fatalf("dumping %s: %v", table, err)
	}
	return dump
}

func (d *Database) dump(tb testing.TB, table string) ([]map[string]string, error) {
	tb.Helper()
	database, name, qualified := strings.Cut(table, ".")
	if !qualified {
		database, name = d.LMS, table
	}
	order, err := d.primaryKey(tb, database, name)
	if err != nil {
		return nil, err
	}
	// Without arguments the driver uses the text protocol: every value comes as the server's own text.
	rows, err := d.Root.QueryContext(tb.Context(),
		fmt.Sprintf("SELECT * FROM `%s`.`%s` ORDER BY %s", database, name, order))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	dump := []map[string]string{}
	for rows.Next() {
		values := make([]sql.RawBytes, len(columns))
		targets := make([]any, len(columns))
		for i := range values {
			targets[i] = &values[i]
		}
		if err := rows.Scan(targets...); err != nil {
			return nil, err
		}
		r := make(map[string]string, len(columns))
		for i, column := range columns {
			if values[i] != nil {
				r[column] = string(values[i])
			}
		}
		dump = append(dump, r)
	}
	return dump, rows.Err()
}

func (d *Database) primaryKey(tb testing.TB, database, table string) (string, error) {
	tb.Helper()
	var columns sql.NullString
	err := d.Root.QueryRowContext(tb.Context(),
		"SELECT GROUP_CONCAT(CONCAT('`', column_name, '`') ORDER BY seq_in_index) FROM information_schema.statistics"+
			" WHERE table_schema = ? AND table_name = ? AND index_name = 'PRIMARY'", database, table).Scan(&columns)
	if err == nil && !columns.Valid {
		err = fmt.Errorf("%s.%s has no primary key", database, table)
	}
	return columns.String, err
}
