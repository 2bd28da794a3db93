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
	list := csvRequests{NewCSV(w)}
	_ = list.Write([]string{ // Add and Close report what is lost
		"request_id", "user_id", "source", "reason", "attempts", "requested_at", "finished_at", "detail",
		"certificate_id", "state", "requested_by", "ticket",
	})
	return list
}

type csvRequests struct{ CSV }

func (l csvRequests) Add(page []mysql.Request) error {
	for _, r := range page {
		finished := ""
		if r.FinishedAt != nil {
			finished = r.FinishedAt.Format(time.RFC3339)
		}
		_ = l.Write([]string{ // Error reports what is lost
			decimal(r.ID), decimal(r.UserID), string(r.Source), string(r.Reason), strconv.Itoa(r.Attempts),
			r.RequestedAt.Format(time.RFC3339), finished, r.Detail, decimal(r.CertificateID), string(r.State), r.RequestedBy,
			r.Ticket,
		})
	}
	return l.Close()
}

func (l csvRequests) Close() error {
	l.Flush()
	return l.Error()
}

func decimal[T ~int64](n T) string { return strconv.FormatInt(int64(n), 10) }

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
type CSV struct{ *csv.Writer }

// NewCSV makes a CSV that writes to w.
func NewCSV(w io.Writer) CSV { return CSV{csv.NewWriter(w)} }

// Write writes one line.
func (w CSV) Write(cells []string) error {
	safe := make([]string, len(cells))
	for i, cell := range cells {
		safe[i] = csvCell(cell)
	}
	return w.Writer.Write(safe)
}

// WriteAll writes all lines, and reports an error of any of them.
func (w CSV) WriteAll(lines [][]string) error {
	for _, cells := range lines {
		if err := w.Write(cells); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
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
