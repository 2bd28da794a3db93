package cli

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"
	"unicode"
)

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
