package backfill

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/certpurge/certpurge/internal/purge"
)

// Line is a line of a list that holds a user id.
type Line struct {
	Number int64 // of the line, from 1
	User   purge.UserID
}

// LineError is the error of a line that holds no user id. Later lines may be good. It never quotes what may be a name.
type LineError struct {
	Line int64
	Err  error
}

// Error implements error.
func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns the cause.
func (e *LineError) Unwrap() error { return e.Err }

// idColumns are the names that a user id may have in a CSV header or a JSON object. A bare "id" is not among them: in
// an export of certificates it is that of the certificate.
var idColumns = []string{"user_id", "lms_user_id", "edx_lms_user_id"}

// maxLine is the longest line in bytes: room for a row of an export, far below what a binary file would fill.
const maxLine = 64 << 10

var (
	byteOrderMark = []byte("\xef\xbb\xbf")
	utf16Marks    = [][]byte{[]byte("\xff\xfe"), []byte("\xfe\xff")}

	errSeparator = errors.New(`"sep=" names a separator that is not read: expected a comma, a semicolon or a tab`)
	errExpected  = fmt.Errorf(
		"expected a user id, a CSV header with a column %s, or a JSON object with one of these keys",
		strings.Join(idColumns, ", "))
)

// separators are what may stand between the columns of CSV: spreadsheets write semicolons where the comma is the
// decimal mark, and tabs on request.
const separators = ",;\t"

// ReadLines yields the user ids of a list: one id on each line, CSV with a header, or JSON lines, distinguished by the
// first line that is not empty. CSV may have commas, semicolons or tabs between its columns, and a line "sep=;" before
// the header. Empty lines count as lines and hold nothing. A line without an id is a *LineError, after which the
// caller may continue; any other error is the last.
func ReadLines(r io.Reader) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		scanner := bufio.NewScanner(r)
		scanner.Buffer(make([]byte, 0, 4096), maxLine)
		var parse func([]byte) (purge.UserID, error)
		allowed := separators
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
			if len(bytes.TrimSpace(text)) == 0 {
				continue
			}
			text = bytes.Trim(text, " \r") // a tab may be an empty column
			if parse == nil {
				if given, ok := declaredSeparator(text); ok && allowed == separators {
					if allowed = given; !strings.Contains(separators, given) {
						yield(Line{}, &LineError{number, errSeparator})
						return
					}
					continue
				}
				var header bool
				var err error
				if parse, header, err = detect(text, allowed); err != nil {
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
			yield(Line{}, fmt.Errorf("line %d is longer than %d bytes; expected a text file with one user on each line",
				number+1, maxLine))
		case err != nil:
			yield(Line{}, fmt.Errorf("reading after line %d: %w", number, err))
		}
	}
}

// declaredSeparator reads the line that declares the separator for a spreadsheet: "sep=;".
func declaredSeparator(text []byte) (separator string, ok bool) {
	line := strings.ToLower(strings.Trim(string(text), `"`))
	separator, ok = strings.CutPrefix(line, "sep=")
	return separator, ok && utf8.RuneCountInString(separator) == 1
}

// detect finds out the kind of a list from its first line. separators are those that may be between columns.
func detect(text []byte, separators string) (parse func([]byte) (purge.UserID, error), header bool, err error) {
	trimmed := bytes.TrimSpace(text)
	if trimmed[0] == '{' {
		return parseJSON, false, nil
	}
	if len(bytes.Trim(trimmed, "0123456789+-. ")) == 0 {
		return func(text []byte) (purge.UserID, error) { return purge.ParseUserID(string(bytes.TrimSpace(text))) }, false, nil
	}
	for _, separator := range separators {
		columns, readErr := fields(text, separator)
		if readErr != nil {
			continue
		}
		at, findErr := idColumn(columns)
		if findErr != nil {
			return nil, false, findErr
		}
		if at >= 0 {
			return func(text []byte) (purge.UserID, error) { return parseCSV(text, separator, at, len(columns)) }, true, nil
		}
	}
	return nil, false, errExpected
}

// idColumn finds the column of the user id in a header; -1 if there is none.
func idColumn(columns []string) (int, error) {
	at := -1
	for i, column := range columns {
		if !slices.Contains(idColumns, strings.ToLower(strings.TrimSpace(column))) {
			continue
		}
		if at >= 0 {
			return -1, fmt.Errorf("the header has two columns that may hold the user id (%s and %s): keep one of them",
				columns[at], column)
		}
		at = i
	}
	return at, nil
}

func parseCSV(text []byte, separator rune, at, columns int) (purge.UserID, error) {
	row, err := fields(text, separator)
	if err != nil {
		return 0, fmt.Errorf("this is no row of CSV: expected %s between the columns, and every quote closed on its line",
			map[rune]string{',': "commas", ';': "semicolons", '\t': "tabs"}[separator])
	}
	if len(row) != columns {
		return 0, fmt.Errorf("got %d columns, expected %d as in the header", len(row), columns)
	}
	return purge.ParseUserID(strings.TrimSpace(row[at]))
}

// fields cuts a row of CSV. Each line is read by itself, so a quoted line break is an error, and an unclosed quote
// costs one line, not the rest of the file.
func fields(text []byte, separator rune) ([]string, error) {
	if bytes.IndexByte(text, '"') < 0 {
		return strings.Split(string(text), string(separator)), nil
	}
	reader := csv.NewReader(bytes.NewReader(text))
	reader.Comma = separator
	return reader.Read()
}

func parseJSON(text []byte) (purge.UserID, error) {
	var object map[string]jsontext.Value
	switch err := json.Unmarshal(text, &object); {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return 0, errors.New("the object has a key twice: keep one of them")
	case err != nil:
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
