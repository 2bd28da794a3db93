package backfill

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/certpurge/certpurge/internal/purge"
)

// Line is a line of a list that holds a user id.
type Line struct {
	Number int64 // of the line, from 1
	User   purge.UserID
}

// LineError is a line that holds no user id. Lines behind it may be good. It never quotes what may be a name.
type LineError struct {
	Line int64
	Err  error
}

// Error implements error.
func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns the cause.
func (e *LineError) Unwrap() error { return e.Err }

// idColumns are the names under which a user id may stand in a CSV header or a JSON object. A bare "id" is none of them: in an
// export of certificates it is the certificate's.
var idColumns = []string{"user_id", "lms_user_id", "edx_lms_user_id"}

// maxLine is the longest line in bytes: room for a row of an export, far below what a binary file would fill.
const maxLine = 64 << 10

var (
	byteOrderMark = []byte("\xef\xbb\xbf")
	utf16Marks    = [][]byte{[]byte("\xff\xfe"), []byte("\xfe\xff")}

	errExpected = fmt.Errorf("expected a user id, a CSV header with a column %s, or a JSON object with one of these keys", strings.Join(idColumns, ", "))
)

// ReadLines yields the user ids of a list: one id on each line, CSV with a header, or JSON lines, told apart by the first
// line that is not empty. Empty lines count as lines and hold nothing. A line without an id is a *LineError, behind
// which the caller may go on; any other error is the last.
func ReadLines(r io.Reader) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		scanner := bufio.NewScanner(r)
		scanner.Buffer(make([]byte, 0, 4096), maxLine)
		var parse func([]byte) (purge.UserID, error)
		number := int64(0)
		for scanner.Scan() {
			number++
			text := scanner.Bytes()
			if number == 1 {
				if slices.ContainsFunc(utf16Marks, func(mark []byte) bool { return bytes.HasPrefix(text, mark) }) {
					yield(Line{}, errors.New("the list is UTF-16: save it as UTF-8"))
					return
				}
				text = bytes.TrimPrefix(text, byteOrderMark)
			}
			if !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0 {
				yield(Line{}, fmt.Errorf("line %d is not text; expected a text file", number))
				return
			}
			if text = bytes.TrimSpace(text); len(text) == 0 {
				continue
			}
			if parse == nil {
				var header bool
				var err error
				if parse, header, err = detect(text); err != nil {
					yield(Line{}, &LineError{number, err})
					return
				}
				if header {
					continue
				}
			}
			user, err := parse(text)
			if err != nil {
				err = &LineError{number, err}
			}
			if !yield(Line{number, user}, err) {
				return
			}
		}
		switch err := scanner.Err(); {
		case errors.Is(err, bufio.ErrTooLong):
			yield(Line{}, fmt.Errorf("line %d is longer than %d bytes; expected a text file with one user on each line", number+1, maxLine))
		case err != nil:
			yield(Line{}, fmt.Errorf("reading behind line %d: %w", number, err))
		}
	}
}

// detect finds out from the first line of what kind a list is.
func detect(text []byte) (parse func([]byte) (purge.UserID, error), header bool, err error) {
	if text[0] == '{' {
		return parseJSON, false, nil
	}
	if len(bytes.Trim(text, "0123456789+-. ")) == 0 {
		return func(text []byte) (purge.UserID, error) { return purge.ParseUserID(string(text)) }, false, nil
	}
	columns, err := fields(text)
	if err != nil {
		return nil, false, errExpected
	}
	at := -1
	for i, column := range columns {
		if !slices.Contains(idColumns, strings.ToLower(strings.TrimSpace(column))) {
			continue
		}
		if at >= 0 {
			return nil, false, fmt.Errorf("the header has two columns that may hold the user id (%s and %s): keep one of them", columns[at], column)
		}
		at = i
	}
	if at < 0 {
		return nil, false, errExpected
	}
	return func(text []byte) (purge.UserID, error) { return parseCSV(text, at, len(columns)) }, true, nil
}

func parseCSV(text []byte, at, columns int) (purge.UserID, error) {
	row, err := fields(text)
	if err != nil {
		return 0, errors.New("this is no row of CSV: expected commas between the columns, and every quote closed on its line")
	}
	if len(row) != columns {
		return 0, fmt.Errorf("got %d columns, expected %d as in the header", len(row), columns)
	}
	return purge.ParseUserID(strings.TrimSpace(row[at]))
}

// fields cuts a row of CSV. Each line is read by itself, so a quoted line break is an error, and an unclosed quote costs one
// line, not the rest of the file.
func fields(text []byte) ([]string, error) {
	if bytes.IndexByte(text, '"') < 0 {
		return strings.Split(string(text), ","), nil
	}
	return csv.NewReader(bytes.NewReader(text)).Read()
}

func parseJSON(text []byte) (purge.UserID, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil {
		return 0, errors.New("this is no JSON object")
	}
	id := ""
	for _, key := range idColumns {
		value, ok := object[key]
		if !ok {
			continue
		}
		if id != "" {
			return 0, errors.New("the object has two keys that may hold the user id: keep one of them")
		}
		id = string(value)
	}
	if id == "" {
		return 0, fmt.Errorf("the object has none of the keys %s", strings.Join(idColumns, ", "))
	}
	if id[0] == '"' {
		return 0, errors.New("the user id is a text: expected a number without quotes")
	}
	return purge.ParseUserID(id)
}
