package mysql

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// script collects statements that travel in one packet and are answered in one, as long as the server takes one of
// that size.
type script struct {
	statements []statement
	size       int
}

type statement struct {
	text string
	args []any
	size int // at most, in bytes, with its arguments written into it
}

func (s *script) add(text string, args ...any) {
	size := len(text) + 2
	for _, arg := range args {
		size += argumentSize(arg)
	}
	s.statements = append(s.statements, statement{text: text, args: args, size: size})
	s.size += size
}

// argumentSize is how long an argument becomes in a statement, at most: each character of a text may need a backslash.
func argumentSize(arg any) int {
	switch arg := arg.(type) {
	case string:
		return 2*len(arg) + 2
	case []byte:
		return 2*len(arg) + len("_binary''")
	case time.Time:
		return len("'2006-01-02 15:04:05.999999'")
	default: // a number, or a text of ours
		return 32
	}
}

// packet is some statements of a script, one after the other.
type packet struct {
	text []byte
	args []any
	size int
}

// packets divides a script into packets of at most limit bytes; a statement that is larger by itself gets one of its
// own.
func (s *script) packets(limit int) []packet {
	var all []packet
	for _, next := range s.statements {
		if len(all) == 0 || all[len(all)-1].size+next.size > limit {
			all = append(all, packet{})
		}
		p := &all[len(all)-1]
		p.text = append(append(p.text, next.text...), ";\n"...)
		p.args = append(p.args, next.args...)
		p.size += next.size
	}
	return all
}

// maxScript bounds a packet where the server takes more: the memory of its parser is the LMS's too.
const maxScript = 1 << 20

// run sends a script and scans the rows of its SELECTs, with one function for each. That is one round trip, unless the
// server's max_allowed_packet is too small for the script. If anything fails, the connection is thrown away, and with
// it a transaction that the script had opened.
func (s *Store) run(ctx context.Context, script *script, scans ...func(*sql.Rows) error) error {
	return s.onConnection(ctx, func(conn *sql.Conn) error { return send(ctx, conn, script, scans...) })
}

// onConnection does something on one connection, which is thrown away if that fails.
func (s *Store) onConnection(ctx context.Context, do func(*sql.Conn) error) error {
	conn, err := s.sql.Conn(ctx)
	if err != nil {
		return err
	}
	if err = do(conn); err != nil {
		discard(conn)
	}
	return errors.Join(err, ignoreClosed(conn.Close()))
}

// packetLimit is how large a packet to the server may be.
func packetLimit(on *sql.Conn) (limit int, err error) {
	limit = maxScript
	err = on.Raw(func(c any) error {
		if c, ok := c.(conn); ok {
			const header = 64 // more than a packet has
			limit = int(min(c.packet-header, maxScript))
		}
		return nil
	})
	return limit, err
}

func send(ctx context.Context, on *sql.Conn, script *script, scans ...func(*sql.Rows) error) error {
	limit, err := packetLimit(on)
	if err != nil {
		return err
	}
	for _, p := range script.packets(limit) {
		if scans, err = p.send(ctx, on, scans); err != nil {
			return err
		}
	}
	return nil
}

// send sends the statements of one packet and scans the rows of its SELECTs. It returns the functions that are left.
// The driver shows the results of SELECTs only; whether what stands behind the last one has failed is known at the
// end.
func (p packet) send(ctx context.Context, on *sql.Conn, scans []func(*sql.Rows) error) (
	left []func(*sql.Rows) error, err error,
) {
	rows, err := on.QueryContext(ctx, string(p.text), p.args...)
	if err != nil {
		return scans, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	columns, err := rows.Columns()
	if err != nil {
		return scans, err
	}
	for more := len(columns) > 0; more; more = rows.NextResultSet() {
		for rows.Next() {
			if err := scans[0](rows); err != nil {
				return scans, err
			}
		}
		if err := rows.Err(); err != nil {
			return scans, err
		}
		scans = scans[1:]
	}
	return scans, rows.Err()
}
