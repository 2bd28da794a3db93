package cli

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// RequestList writes requests page by page, however many there are. A list that was cut looks like one: Close writes
// its end.
type RequestList interface {
	Add(page []mysql.Request) error
	Close() error
}

// NewRequestList makes a list in a format, json or csv.
func NewRequestList(w io.Writer, format Format) RequestList {
	if format == "json" {
		return &jsonRequests{w: w, separator: `{"requests":[`}
	}
	return csvRequests{NewCSV(w, "request_id", "user_id", "source", "reason", "attempts", "requested_at", "finished_at",
		"detail", "certificate_id", "state", "requested_by", "ticket")}
}

type csvRequests struct{ CSV }

func (l csvRequests) Add(page []mysql.Request) error {
	for _, r := range page {
		l.Row(r.ID, r.UserID, r.Source, r.Reason, r.Attempts, r.RequestedAt, r.FinishedAt, r.Detail, r.CertificateID,
			r.State, r.RequestedBy, r.Ticket)
	}
	return l.Flush()
}

// Close implements RequestList.
func (l csvRequests) Close() error { return l.Flush() }

type jsonRequests struct {
	w         io.Writer
	separator string
}

func (l *jsonRequests) Add(page []mysql.Request) error {
	for _, r := range page {
		data, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("writing the answer: %w", err)
		}
		if _, err = io.WriteString(l.w, l.separator); err == nil {
			_, err = purge.EscapedJSON{W: l.w}.Write(data)
		}
		if err != nil {
			return fmt.Errorf("writing the answer: %w", err)
		}
		l.separator = ","
	}
	return nil
}

func (l *jsonRequests) Close() error {
	if l.separator != "," {
		if _, err := io.WriteString(l.w, l.separator); err != nil {
			return fmt.Errorf("writing the answer: %w", err)
		}
	}
	_, err := io.WriteString(l.w, "]}\n")
	return err
}

// CSV writes lines of CSV (RFC 4180) that a terminal and a spreadsheet bear: what is no text is escaped, and a cell
// that a spreadsheet would take for a formula begins with an apostrophe. JSON has the values as they are.
type CSV struct{ w *csv.Writer }

// NewCSV makes a CSV that writes to w, beginning with a header.
func NewCSV(w io.Writer, header ...any) CSV {
	c := CSV{csv.NewWriter(w)}
	c.Row(header...)
	return c
}

// Row writes a line: times as in RFC 3339, a nil time as an empty cell, all else as fmt.Print does. Error and Flush
// return its error.
func (c CSV) Row(cells ...any) {
	texts := make([]string, len(cells))
	for i, cell := range cells {
		switch cell := cell.(type) {
		case time.Time:
			texts[i] = cell.Format(time.RFC3339)
		case *time.Time:
			if cell != nil {
				texts[i] = cell.Format(time.RFC3339)
			}
		default:
			texts[i] = csvCell(fmt.Sprint(cell))
		}
	}
	_ = c.w.Write(texts)
}

// Error returns the first error of the rows that were written so far; some may be buffered.
func (c CSV) Error() error { return c.w.Error() }

// Flush writes what is buffered, and returns the first error so far.
func (c CSV) Flush() error {
	c.w.Flush()
	return c.w.Error()
}

func csvCell(cell string) string {
	if strings.ContainsFunc(cell, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		quoted := strconv.QuoteToGraphic(cell)
		cell = strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
	}
	if cell != "" && strings.ContainsRune("=+-@", rune(cell[0])) {
		if _, err := strconv.ParseInt(cell, 10, 64); err != nil {
			cell = "'" + cell
		}
	}
	return cell
}
