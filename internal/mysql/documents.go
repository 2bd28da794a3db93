package mysql

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"

	"github.com/certpurge/certpurge/internal/evidence"
	"github.com/certpurge/certpurge/internal/purge"
)

// document is a document to append to a request's chain.
type document struct {
	*evidence.Document

	chain purge.Chain
}

// chainTail is an expression for what parseChain reads.
const chainTail = "CONCAT(number, ':', HEX(hash))"

// parseChain reads the number and the hash of the last document of a request; there is none yet if it is null.
func parseChain(text sql.NullString) (c purge.Chain, err error) {
	if !text.Valid {
		return c, nil
	}
	var hash []byte
	if _, err = fmt.Sscanf(text.String, "%d:%x", &c.Documents, &hash); err != nil || len(hash) != sha256.Size {
		return c, fmt.Errorf("reading the end of a request's evidence: %q", text.String)
	}
	copy(c.Hash[:], hash)
	return c, nil
}

// readChain reads where the evidence of a request ends.
func readChain(ctx context.Context, on querier, request purge.RequestID) (c purge.Chain, err error) {
	err = each(ctx, on, func(rows *sql.Rows) error {
		var tail sql.NullString
		if err := rows.Scan(&tail); err != nil {
			return err
		}
		c, err = parseChain(tail)
		return err
	}, "SELECT "+chainTail+" FROM evidence_documents WHERE request_id = ? ORDER BY number DESC LIMIT 1", request)
	return c, err
}

// largestDocument bounds a document where the server would take more.
const largestDocument = 256 << 10

// maxDocument is how large a document may become on a connection: a quarter of what the server takes at a time.
func maxDocument(on *sql.Conn) int {
	limit, err := packetLimit(on)
	if err != nil {
		return largestDocument // the statement that follows returns the error
	}
	return min(largestDocument, limit/4)
}

// addDocuments adds the statements that write documents, each in as many parts as its size needs. The unique key of
// request and number lets one of two win that were written for the same place.
func addDocuments(q *script, documents []document, limit int) error {
	const columns = "(request_id, number, user_id, attempt, part, at, hash, document)"
	var args []any
	rows, size := 0, 0
	flush := func() {
		if rows > 0 {
			q.add("INSERT INTO evidence_documents "+columns+" VALUES "+tuples("(?, ?, ?, ?, ?, ?, ?, ?)", rows), args...)
		}
		args, rows, size = nil, 0, 0
	}
	for _, d := range documents {
		chain := d.chain
		parts, err := d.Split(limit)
		if err != nil {
			return err
		}
		for _, text := range parts {
			chain.Documents++
			chain.Hash = evidence.Hash(chain.Hash, text)
			if rows == rowsPerStatement || size+len(text) > limit {
				flush()
			}
			args = append(args, d.Request.ID, chain.Documents, d.Request.UserID, d.Attempt, d.Part, d.At,
				bytes.Clone(chain.Hash[:]), text)
			rows++
			size += len(text)
		}
	}
	flush()
	return nil
}

// histories are the evidence of users; of requests about orphans, whose user is 0.
type histories map[purge.UserID]*evidence.History

func (h histories) history(user purge.UserID) *evidence.History {
	if h[user] == nil {
		h[user] = &evidence.History{}
	}
	return h[user]
}

func (h histories) add(user purge.UserID, id int64, d *evidence.Document) { h.history(user).Add(id, d) }

// collector takes what is read of the evidence of users.
type collector interface {
	history(user purge.UserID) *evidence.History
	add(user purge.UserID, id int64, d *evidence.Document)
}

// addHistory adds the statements that read all evidence of users or of requests, by the values of the column user_id or
// request_id, and returns what scans their rows into a collector. Rows of earlier versions come first.
func addHistory(q *script, column string, which []any, into collector) []func(*sql.Rows) error {
	scans := addLegacy(q, column, which, into)
	q.add("SELECT user_id, id, document FROM evidence_documents"+inOrder(column, which), which...)
	return append(scans, func(rows *sql.Rows) error {
		var user purge.UserID
		var id int64
		var text []byte
		if err := rows.Scan(&user, &id, &text); err != nil {
			return err
		}
		d, err := evidence.Decode(text)
		if err != nil {
			return fmt.Errorf("document %d: %w", id, err)
		}
		into.add(user, id, d)
		return nil
	})
}

// addLegacy adds the statements of addHistory that read the rows of earlier versions.
func addLegacy(q *script, column string, which []any, into collector) []func(*sql.Rows) error {
	q.add("SELECT "+legacyObjects+" FROM evidence_objects"+inOrder(column, which), which...)
	q.add("SELECT "+legacyLinks+" FROM evidence"+inOrder(column, which), which...)
	return []func(*sql.Rows) error{
		func(rows *sql.Rows) error {
			_, row, err := scanLegacyObject(rows)
			into.history(row.User).AddRow(row)
			return err
		},
		func(rows *sql.Rows) error {
			_, c, err := scanLegacyLinks(rows)
			into.history(c.User).AddClearing(c)
			return err
		},
	}
}

func inOrder(column string, which []any) string {
	return " WHERE " + column + " IN (" + tuples("?", len(which)) + ") ORDER BY id"
}
