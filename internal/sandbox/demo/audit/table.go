package audit

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"regexp"
	"strings"
)

// table is one table of the LMS. Rows are kept as packed cells, which is a fraction of what maps or slices would take.
type table struct {
	name       string
	definition string
	columns    []string
	key        string // the one column of the primary key, a number
	ids        []int64
	rows       []string
}

// counter is the part of a definition that is no definition: the next id. New rows show by themselves.
var counter = regexp.MustCompile(` AUTO_INCREMENT=\d+`)

// tables returns the names of all tables of the LMS database.
func (s Site) tables(ctx context.Context) ([]string, error) {
	var names []string
	err := s.query(ctx, "listing the LMS tables", func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		names = append(names, name)
		return err
	}, "SELECT table_name FROM information_schema.tables WHERE table_schema = ? ORDER BY table_name", s.LMS)
	return names, err
}

// describe reads what a table is.
func (s Site) describe(ctx context.Context, name string) (*table, error) {
	t := &table{name: name}
	doing := "describing " + name
	err := s.query(ctx, doing, func(rows *sql.Rows) error {
		var same string
		return rows.Scan(&same, &t.definition)
	}, "SHOW CREATE TABLE "+quoted(s.LMS)+"."+quoted(name))
	if err != nil {
		return nil, err
	}
	t.definition = counter.ReplaceAllString(t.definition, "")
	keys := 0
	err = s.query(ctx, doing, func(rows *sql.Rows) error {
		keys++
		return rows.Scan(&t.key)
	}, "SELECT column_name FROM information_schema.statistics WHERE table_schema = ? AND table_name = ? AND index_name "+
		"= 'PRIMARY'", s.LMS, name)
	if err == nil && keys != 1 {
		err = fmt.Errorf("%s: expected a primary key of one column, it has %d", doing, keys)
	}
	return t, err
}

// read calls each for every row in the order of the primary key.
func (s Site) read(ctx context.Context, t *table, each func(id int64, cells string)) error {
	// Without arguments the driver uses the text protocol: every value comes as the server's own text.
	var targets []any
	var values []sql.RawBytes
	var id int64
	var packed []byte
	return s.query(ctx, "reading "+t.name, func(rows *sql.Rows) error {
		if targets == nil {
			columns, err := rows.Columns()
			if err != nil {
				return err
			}
			t.columns = columns[1:]
			values = make([]sql.RawBytes, len(t.columns))
			targets = []any{&id}
			for i := range values {
				targets = append(targets, &values[i])
			}
		}
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		packed = packed[:0]
		for _, v := range values {
			packed = pack(packed, v)
		}
		each(id, string(packed))
		return nil
	}, "SELECT "+quoted(t.key)+", t.* FROM "+quoted(s.LMS)+"."+quoted(t.name)+" t ORDER BY 1")
}

// pack appends a cell: its length plus one, so that NULL can be 0, and its bytes.
func pack(packed []byte, value []byte) []byte {
	if value == nil {
		return binary.AppendUvarint(packed, 0)
	}
	return append(binary.AppendUvarint(packed, uint64(len(value))+1), value...)
}

// null is what unpack makes of NULL; no text of a column is like it.
const null = "\x00NULL"

// unpack takes a row's cells apart.
func unpack(packed string) []string {
	var cells []string
	for packed != "" {
		n, width := binary.Uvarint([]byte(packed[:min(len(packed), binary.MaxVarintLen64)]))
		packed = packed[width:]
		if n == 0 {
			cells = append(cells, null)
			continue
		}
		cells, packed = append(cells, packed[:n-1]), packed[n-1:]
	}
	return cells
}

// quoted is an identifier for SQL.
func quoted(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }
