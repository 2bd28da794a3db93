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

// run sends a script and scans the row of its last statement, a SELECT. That is one round trip, unless the server's
// max_allowed_packet is too small for the script. If anything fails, the connection is thrown away, and with it a
// transaction that the script had opened.
func (s *Store) run(ctx context.Context, script *script, scan func(*sql.Rows) error) error {
	conn, err := s.sql.Conn(ctx)
	if err != nil {
		return err
	}
	err = send(ctx, conn, script, scan)
	if err != nil {
		discard(conn)
	}
	return errors.Join(err, ignoreClosed(conn.Close()))
}

func send(ctx context.Context, on *sql.Conn, script *script, scan func(*sql.Rows) error) error {
	limit := maxScript
	err := on.Raw(func(c any) error {
		if c, ok := c.(conn); ok {
			const header = 64 // more than a packet has
			limit = int(min(c.packet-header, maxScript))
		}
		return nil
	})
	if err != nil {
		return err
	}
	packets := script.packets(limit)
	last := len(packets) - 1
	for _, p := range packets[:last] {
		if _, err := on.ExecContext(ctx, string(p.text), p.args...); err != nil {
			return err
		}
	}
	return each(ctx, on, scan, string(packets[last].text), packets[last].args...)
}
