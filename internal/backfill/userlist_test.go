package backfill_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/backfill"
	"github.com/certpurge/certpurge/internal/purge"
)

// unknown is an LMS that has all users but these.
type unknown []purge.UserID

func (u unknown) UnknownUsers(_ context.Context, ids []purge.UserID) ([]purge.UserID, error) {
	var found []purge.UserID
	for _, id := range ids {
		if slices.Contains(u, id) {
			found = append(found, id)
		}
	}
	return found, nil
}

func (u unknown) list(in io.Reader) *backfill.UserList {
	return &backfill.UserList{LMS: u, Database: "openedx", In: in}
}

// items reads a source to its end.
func items(t *testing.T, s backfill.Source, after int64) (users []int, positions []int64, err error) {
	t.Helper()
	for item, err := range s.Items(t.Context(), after) {
		if err != nil {
			return users, positions, err
		}
		if item.Submission.Key != purge.DefaultKey(item.Submission.User) || item.Submission.Source != purge.SourceBackfill {
			t.Errorf("got %+v", item.Submission)
		}
		users, positions = append(users, int(item.Submission.User)), append(positions, item.Position)
	}
	return users, positions, nil
}

func TestAListYieldsEachUserOnceFromAnyPosition(t *testing.T) {
	t.Parallel()
	l := unknown{}.list(strings.NewReader("user_id\n5\n7\n5\n\n9\n7\n11\n"))
	if err := l.Check(t.Context()); err != nil || l.Users() != 4 || l.Duplicates != 2 {
		t.Fatalf("got %v, %d users, %d duplicates", err, l.Users(), l.Duplicates)
	}
	users, positions, err := items(t, l, 0)
	if err != nil || !slices.Equal(users, []int{5, 7, 9, 11}) || !slices.Equal(positions, []int64{1, 2, 4, 6}) ||
		l.Duplicates != 2 {
		t.Errorf("got %v at %v, %v", users, positions, err)
	}
	if got := l.Share(6); got != 1 {
		t.Errorf("got share %v at the end", got)
	}
	for i, after := range positions {
		l := unknown{}.list(strings.NewReader("user_id\n5\n7\n5\n\n9\n7\n11\n"))
		if err := l.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		if rest, _, err := items(t, l, after); err != nil || !slices.Equal(rest, users[i+1:]) {
			t.Errorf("behind %d: got %v, %v", after, rest, err)
		}
	}
}

func TestAFileIsCheckedWhole(t *testing.T) {
	t.Parallel()
	many := func(n int, change func(line int) string) string {
		var b strings.Builder
		for line := 1; line <= n; line++ {
			if text := change(line); text != "" {
				b.WriteString(text + "\n")
			} else {
				fmt.Fprintln(&b, line)
			}
		}
		return b.String()
	}
	for name, tc := range map[string]struct {
		list string
		want []string
		not  string
	}{
		"empty":       {"", []string{"it holds no user id"}, ""},
		"header only": {"user_id\n", []string{"it holds no user id"}, ""},
		"binary":      {"1\n\x00\n", []string{"line 2 is not text"}, ""},
		"one bad line at the end": {many(200_000, func(line int) string {
			if line == 199_999 {
				return "alice"
			}
			return ""
		}), []string{"line 199999: this (not shown, it may be a name)"}, "alice"},
		"many bad lines": {many(1000, func(line int) string {
			if line > 500 {
				return "0"
			}
			return ""
		}), []string{"line 501:", "line 510:", "and 490 more lines"}, "line 511"},
		"users that are not there, and other slips": {
			"1\n900066\n2\n0\n900077\n",
			[]string{"line 2: the LMS has no user 900066\nline 4: ", "line 5: the LMS has no user 900077"},
			"",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := unknown{900_066, 900_077}.list(strings.NewReader(tc.list)).Check(t.Context())
			if !errors.Is(err, backfill.ErrBadList) {
				t.Fatalf("got %v", err)
			}
			for _, part := range tc.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("got %q, want it to say %q", err, part)
				}
			}
			if tc.not != "" && strings.Contains(err.Error(), tc.not) {
				t.Errorf("got %q, which says %q", err, tc.not)
			}
		})
	}
}

func TestAPipeIsCheckedAsItIsRead(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		list  string
		users int
		want  string
	}{
		"a bad line":               {"1\n2\n3\nbob\n5\n", 3, "line 4: "},
		"a user that is not there": {"1\n2\n900066\n4\n", 2, "line 3: the LMS has no user 900066"},
		"nothing":                  {"\n", 0, "it holds no user id"},
		"a slip before a bad line": {"1\n900066\n3\nbob\n", 1, "line 2: the LMS has no user 900066"},
		"in the second batch": {
			lines(1, 700) + "900066\n" + lines(701, 900), 700,
			"line 701: the LMS has no user 900066",
		},
		"a slip in the first batch": {"900066\n" + lines(1, 900), 0, "line 1: the LMS has no user 900066"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := unknown{900_066}.list(pipe{strings.NewReader(tc.list)})
			users, _, err := items(t, l, 0)
			if !errors.Is(err, backfill.ErrBadList) || !strings.Contains(err.Error(), tc.want) || len(users) != tc.users {
				t.Errorf("got %d users and %v, want %d and %q", len(users), err, tc.users, tc.want)
			}
		})
	}
	users, _, err := items(t, unknown{}.list(pipe{strings.NewReader(lines(1, 1200) + lines(1, 5))}), 0)
	if err != nil || !slices.Equal(users, sequence(1, 1200)) {
		t.Errorf("a good pipe: got %d users, %v", len(users), err)
	}
	if got := (unknown{}).list(nil).Share(3); got >= 0 {
		t.Errorf("got share %v of a pipe", got)
	}
}

func lines(from, to int) string {
	var b strings.Builder
	for _, n := range sequence(from, to) {
		fmt.Fprintln(&b, n)
	}
	return b.String()
}

// pipe hides that its reader can seek.
type pipe struct{ io.Reader }

func TestAFileThatIsChangedWhileItIsReadIsFoundOut(t *testing.T) {
	t.Parallel()
	file := &growing{Reader: bytes.NewReader([]byte("1\n2\n")), next: []byte("1\n2\n3\n")}
	l := unknown{}.list(file)
	if err := l.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := items(t, l, 0); !errors.Is(err, backfill.ErrBadList) ||
		!strings.Contains(err.Error(), "changed while it was read") {
		t.Errorf("got %v", err)
	}
}

// growing is a file with other content when it is read again.
type growing struct {
	*bytes.Reader
	next []byte
}

func (g *growing) Seek(offset int64, whence int) (int64, error) {
	g.Reset(g.next)
	return g.Reader.Seek(offset, whence)
}

func TestFingerprintsTellSourcesApart(t *testing.T) {
	t.Parallel()
	checked := func(database, list string) string {
		l := unknown{}.list(strings.NewReader(list))
		l.Database = database
		if err := l.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		return l.Fingerprint()
	}
	same := checked("openedx", "1\n2\n")
	if got := checked("openedx", "1\n2\n"); got != same {
		t.Errorf("got %q and %q for the same list", same, got)
	}
	since, _ := backfillTime("2024-01-01")
	all := []string{
		same, checked("openedx", "2\n1\n"), checked("other", "1\n2\n"),
		(&backfill.Retired{Database: "openedx"}).Fingerprint(),
		(&backfill.Retired{Database: "other"}).Fingerprint(),
		(&backfill.Retired{Database: "openedx", Since: since}).Fingerprint(),
		(&backfill.Retired{Database: "openedx", Until: since}).Fingerprint(),
	}
	slices.Sort(all)
	if got := slices.Compact(slices.Clone(all)); len(got) != len(all) {
		t.Errorf("some are the same: %q", all)
	}
}

func BenchmarkCheck(b *testing.B) {
	list := lines(1, 1_000_000)
	b.SetBytes(int64(len(list)))
	for b.Loop() {
		if err := (unknown{}).list(strings.NewReader(list)).Check(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
