package backfill_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/certpurge/certpurge/internal/backfill"
	"github.com/certpurge/certpurge/internal/purge"
)

// read returns the ids of a list, and what is wrong with it.
func read(list string) (ids []purge.UserID, problems []string) {
	for line, err := range backfill.ReadLines(strings.NewReader(list)) {
		if err != nil {
			problems = append(problems, err.Error())
		} else {
			ids = append(ids, line.User)
		}
	}
	return ids, problems
}

func TestListsAreReadInEachForm(t *testing.T) {
	t.Parallel()
	want := []purge.UserID{42, 7, 42, 2147483647}
	for name, list := range map[string]string{
		"one id on each line":          "42\n7\n42\n2147483647\n",
		"without a last line break":    "42\n7\n42\n2147483647",
		"CRLF":                         "42\r\n7\r\n42\r\n2147483647\r\n",
		"BOM":                          "\ufeff42\n7\n42\n2147483647\n",
		"empty lines and spaces":       "\n  42 \n\n\t7\n42\n   \n2147483647\n\n",
		"CSV":                          "name,user_id\nx,42\ny,7\nz,42\n,2147483647\n",
		"CSV with one column":          "user_id\n42\n7\n42\n2147483647\n",
		"CSV with BOM, CRLF, capitals": "\ufeffUSER_ID,x\r\n42,\r\n7,\r\n42,\r\n2147483647,\r\n",
		"CSV with quotes": "\"name\",\"lms_user_id\"\n\"Doe, \"\"Jo\"\"\",42\n\"a\",\"7\"\n,42\n\"\", " +
			"2147483647\n",
		"CSV with an id of its own": "id,user_id\n1,42\n2,7\n3,42\n4,2147483647\n",
		"semicolons":                "name;user_id\r\nx, y;42\r\n;7\r\n\"a;b\";42\r\nz;2147483647\r\n",
		"tabs":                      "\tuser_id\tname\tx\n0\t42\tx y\t\n1\t7\t\t\n2\t42\t\"a\tb\"\t\n3\t2147483647\tz\t\n",
		"sep=;":                     "\ufeffsep=;\r\nuser_id;x\r\n42;\r\n7;\r\n42;\r\n2147483647;1\r\n",
		"sep=, in quotes":           "\"SEP=,\"\nx;y,user_id\na,42\nb,7\nc,42\nd,2147483647\n",
		"sep= and a tab":            "sep=\t\nuser_id\tx\n42\t\n7\t\n42\t\n2147483647\t1\n",
		"sep= and one column":       "sep=;\nuser_id\n42\n7\n42\n2147483647\n",
		"JSON lines": "{\"user_id\":42}\n{\"edx_lms_user_id\": 7, \"name\":\"x\"}\n\n { \"lms_user_id\" : " +
			"42 } \n{\"user_id\":2147483647}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if ids, problems := read(list); !slices.Equal(ids, want) || problems != nil {
				t.Errorf("got %v, %q; want %v", ids, problems, want)
			}
		})
	}
}

func TestBadLinesAreNamedByTheirNumbers(t *testing.T) {
	t.Parallel()
	const expected = "expected a user id, a CSV header with a column user_id, lms_user_id, edx_lms_user_id, or a JSON " +
		"object with one of these keys"
	notID := func(what string) string {
		return what + " is not a user id: expected the LMS's numeric id, 1 to 2147483647"
	}
	const twice = "line 1: the object has a key twice: keep one of them"
	const short = "got 1 columns, expected 2 as in the header"
	const hidden = "this (not shown, it may be a name)"
	for name, tc := range map[string]struct {
		list string
		ids  []purge.UserID
		want []string
	}{
		"empty":                   {"", nil, nil},
		"only empty lines":        {"\n\r\n \n", nil, nil},
		"only a header":           {"user_id\n", nil, nil},
		"zero":                    {"1\n0\n2\n", []purge.UserID{1, 2}, []string{"line 2: " + notID(`"0"`)}},
		"negative":                {"-5\n", nil, []string{"line 1: " + notID(`"-5"`)}},
		"2^31":                    {"1\n\n2147483648\n", []purge.UserID{1}, []string{"line 3: " + notID(`"2147483648"`)}},
		"beyond all numbers":      {"99999999999999999999\n", nil, []string{"line 1: " + notID(`"99999999999999999999"`)}},
		"float":                   {"4.2\n1\n", []purge.UserID{1}, []string{"line 1: " + notID(`"4.2"`)}},
		"exponent":                {"1\n1e3\n", []purge.UserID{1}, []string{"line 2: " + notID(hidden)}},
		"leading zero":            {"007\n", nil, []string{"line 1: " + notID(`"007"`)}},
		"text":                    {"1\nalice\n", []purge.UserID{1}, []string{"line 2: " + notID(hidden)}},
		"text at first":           {"alice\n1\n", nil, []string{"line 1: " + expected}},
		"two on a line":           {"1\n2 3\n", []purge.UserID{1}, []string{`line 2: ` + notID(`"2 3"`)}},
		"CSV without a header":    {"42,alice\n", nil, []string{"line 1: " + expected}},
		"CSV without our column":  {"id,name\n42,alice\n", nil, []string{"line 1: " + expected}},
		"semicolons, a comma row": {"user_id;name\n42,alice\n7;bob\n", []purge.UserID{7}, []string{"line 2: " + short}},
		"semicolons, unclosed": {"user_id;name\n1;\"x\n2;y\n", []purge.UserID{2}, []string{
			"line 2: this is no row of CSV: expected semicolons between the columns, and every quote closed on its line",
		}},
		"tabs, a short row": {"user_id\tname\n1\tx\n2\n3\ty\n", []purge.UserID{1, 3}, []string{"line 3: " + short}},
		"vertical bars":     {"user_id|name\n42|alice\n", nil, []string{"line 1: " + expected}},
		"sep= something else": {"sep=|\nuser_id|name\n42|alice\n", nil, []string{
			`line 1: "sep=" names a separator that is not read: expected a comma, a semicolon or a tab`,
		}},
		"sep= that is not true": {"sep=;\nuser_id,name\n42,alice\n", nil, []string{"line 2: " + expected}},
		"sep= twice":            {"sep=;\nsep=;\nuser_id;x\n1;\n", nil, []string{"line 2: " + expected}},
		"sep= in the middle":    {"user_id;x\nsep=;\n1;\n", []purge.UserID{1}, []string{"line 2: " + notID(hidden)}},
		"two id columns": {
			"user_id,lms_user_id\n1,2\n", nil,
			[]string{"line 1: the header has two columns that may hold the user id (user_id and lms_user_id): keep " +
				"one of them"},
		},
		"CSV with a short row": {
			"user_id,name\n1,x\n2\n3,y\n",
			[]purge.UserID{1, 3},
			[]string{"line 3: got 1 columns, expected 2 as in the header"},
		},
		"CSV with an unclosed": {
			"user_id,name\n1,\"x\n2,y\n",
			[]purge.UserID{2},
			[]string{"line 2: this is no row of CSV: expected commas between the columns, and every quote closed on its line"},
		},
		"CSV with an empty id": {"user_id,name\n,x\n", nil, []string{"line 2: " + notID(`""`)}},
		"JSON text": {
			"{\"user_id\":\"42\"}\n", nil,
			[]string{"line 1: the user id is a text: expected a number without quotes"},
		},
		"JSON float": {
			"{\"user_id\":42.0}\n{\"user_id\":4e1}\n", nil,
			[]string{"line 1: " + notID(`"42.0"`), "line 2: " + notID(hidden)},
		},
		"JSON null": {"{\"user_id\":null}\n", nil, []string{"line 1: " + notID(hidden)}},
		"JSON without a key": {
			"{\"user\":42}\n{\"user_id\":1}\n",
			[]purge.UserID{1},
			[]string{"line 1: the object has none of the keys user_id, lms_user_id, edx_lms_user_id"},
		},
		"JSON with two keys": {
			"{\"user_id\":1,\"lms_user_id\":2}\n", nil,
			[]string{"line 1: the object has two keys that may hold the user id: keep one of them"},
		},
		"JSON, a key twice":         {"{\"user_id\":1,\"user_id\":2}\n{\"user_id\":3}\n", []purge.UserID{3}, []string{twice}},
		"JSON, a key twice escaped": {"{\"user_id\":1,\"user\\u005fid\":2}\n", nil, []string{twice}},
		"JSON, another key twice":   {"{\"user_id\":1,\"x\":2,\"x\":3}\n", nil, []string{twice}},
		"JSON cut off": {
			"{\"user_id\":1\n{\"user_id\":2}\n",
			[]purge.UserID{2},
			[]string{"line 1: this is no JSON object"},
		},
		"JSON list":        {"[1,2]\n", nil, []string{"line 1: " + expected}},
		"trailing garbage": {"{\"user_id\":1} x\n", nil, []string{"line 1: this is no JSON object"}},
		"UTF-16":           {"\xff\xfe4\x002\x00\n\x00", nil, []string{"the list is UTF-16: save it as UTF-8"}},
		"binary": {
			"1\n2\n\x7fELF\x02\x00\x01\n3\n",
			[]purge.UserID{1, 2},
			[]string{"line 3 is not text; expected a text file"},
		},
		"not UTF-8": {
			"1\n\xe9t\xe9\n3\n",
			[]purge.UserID{1},
			[]string{"line 2 is not text; expected a text file"},
		},
		"an endless line": {
			"1\n" + strings.Repeat("9", 70_000) + "\n3\n",
			[]purge.UserID{1},
			[]string{"line 2 is longer than 65536 bytes; expected a text file with one user on each line"},
		},
		"several": {
			"1\n0\nbob\n4\n-1\n",
			[]purge.UserID{1, 4},
			[]string{"line 2: " + notID(`"0"`), "line 3: " + notID(hidden), "line 5: " + notID(`"-1"`)},
		},
		"carriage returns only":     {"1\r2\r3\r", nil, []string{"line 1: " + expected}},
		"a BOM in the middle":       {"1\n\ufeff2\n", []purge.UserID{1}, []string{"line 2: " + notID(hidden)}},
		"digits of other alphabets": {"１２\n", nil, []string{"line 1: " + expected}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ids, problems := read(tc.list)
			if !slices.Equal(ids, tc.ids) || !slices.Equal(problems, tc.want) {
				t.Errorf("got %v and\n  %s\nwant %v and\n  %s", ids, strings.Join(problems, "\n  "), tc.ids,
					strings.Join(tc.want, "\n  "))
			}
		})
	}
}

func TestAReadErrorSaysWhereItWas(t *testing.T) {
	t.Parallel()
	broken := errors.New("the disk is gone")
	var last error
	for _, err := range backfill.ReadLines(io.MultiReader(strings.NewReader("1\n2\n"), iotest.ErrReader(broken))) {
		last = err
	}
	if !errors.Is(last, broken) || last.Error() != "reading after line 2: the disk is gone" {
		t.Errorf("got %v", last)
	}
}

func FuzzReadLines(f *testing.F) {
	for _, seed := range []string{
		"42\n7\n", "\ufeff42\r\n", "user_id,name\n42,\"a\"\n", "{\"user_id\":42}\n", "\xff\xfe4", "alice", "1\n\x00\n",
		"user_id\n\"4\"\"2\"",
		"sep=;\nuser_id;x\n42;\n", "x\tuser_id\n\t42\n", "{\"user_id\":1,\"user_id\":2}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		number := int64(0)
		ended := false
		for line, err := range backfill.ReadLines(strings.NewReader(list)) {
			if ended {
				t.Fatal("something follows the last error")
			}
			bad, isLine := errors.AsType[*backfill.LineError](err)
			if isLine {
				line.Number = bad.Line
			}
			switch {
			case err != nil && !isLine:
				ended = true
			case line.Number <= number || line.Number > int64(strings.Count(list, "\n")+1):
				t.Fatalf("line %d follows line %d", line.Number, number)
			case err == nil && !line.User.Valid():
				t.Fatalf("got user %d", line.User)
			}
			if err != nil && len(err.Error()) > 300 {
				t.Fatalf("it says %q", fmt.Sprint(err))
			}
			number = line.Number
		}
	})
}
