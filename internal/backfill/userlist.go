package backfill

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/certpurge/certpurge/internal/purge"
)

// Known finds users whom the LMS does not have.
type Known interface {
	// UnknownUsers returns those of the ids that the LMS does not have, in their order.
	UnknownUsers(ctx context.Context, ids []purge.UserID) ([]purge.UserID, error)
}

// UserList is the source of users that a file or a pipe lists. Positions count the ids read, duplicates included.
type UserList struct {
	LMS      Known
	Database string    // the LMS's, for the fingerprint
	In       io.Reader // an io.ReadSeeker for Check

	Duplicates int // ids that were listed again, in the latest reading

	sum   string // SHA-256 of a file that was checked
	total int64  // ids in it
	users int    // distinct
}

// ErrBadList is the class of errors in the list itself.
var ErrBadList = errors.New("the list of users cannot be used")

// shownProblems is how many bad lines are named one by one.
const shownProblems = 10

// Check reads a whole file: every line must hold an id, and the LMS must have every user. It reports all that is wrong,
// the first lines by their numbers, as ErrBadList.
func (l *UserList) Check(ctx context.Context) error {
	problems := &problems{}
	digest := sha256.New()
	seen := roaring.New()
	var batch []Line
	l.total, l.Duplicates = 0, 0
	for line, err := range ReadLines(io.TeeReader(l.In, digest)) {
		if bad, ok := errors.AsType[*LineError](err); ok {
			problems.add(bad)
			continue
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrBadList, err)
		}
		l.total++
		if !seen.CheckedAdd(uint32(line.User)) { //nolint:gosec // a valid id has 31 bits
			l.Duplicates++
			continue
		}
		if batch = append(batch, line); len(batch) == purge.MaxBatch {
			if err := l.known(ctx, batch, problems); err != nil {
				return err
			}
			batch = batch[:0]
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if err := l.known(ctx, batch, problems); err != nil {
		return err
	}
	if err := problems.err(); err != nil {
		return err
	}
	if l.total == 0 {
		return fmt.Errorf("%w: it holds no user id", ErrBadList)
	}
	l.users = int(seen.GetCardinality()) //nolint:gosec // at most 2^31
	l.sum = hex.EncodeToString(digest.Sum(nil))
	return l.rewind()
}

func (l *UserList) rewind() error {
	file, ok := l.In.(io.Seeker)
	if !ok {
		return errors.New("a pipe cannot be read twice")
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("reading the list again: %w", err)
	}
	return nil
}

// known adds a problem for each line with a user whom the LMS does not have.
func (l *UserList) known(ctx context.Context, lines []Line, problems *problems) error {
	ids := make([]purge.UserID, len(lines))
	at := make(map[purge.UserID]int64, len(lines))
	for i, line := range lines {
		ids[i], at[line.User] = line.User, line.Number
	}
	unknown, err := l.LMS.UnknownUsers(ctx, ids)
	if err != nil {
		return fmt.Errorf("looking up users: %w", err)
	}
	for _, user := range unknown {
		problems.add(&LineError{at[user], fmt.Errorf("the LMS has no user %d", user)})
	}
	return nil
}

// Users is how many different users a checked file lists.
func (l *UserList) Users() int { return l.users }

// Fingerprint implements Source.
func (l *UserList) Fingerprint() string {
	if l.sum == "" {
		return "a pipe"
	}
	return "a list of users of " + l.Database + " with SHA-256 " + l.sum
}

// Share implements Source.
func (l *UserList) Share(position int64) float64 {
	if l.total == 0 {
		return -1
	}
	return float64(position) / float64(l.total)
}

// Items implements Source. A list that was not checked before is checked as it is read, so an error comes after the
// users who were good. One that was checked must not have changed, which is known at its end.
func (l *UserList) Items(ctx context.Context, after int64) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		l.Duplicates = 0
		digest, seen := sha256.New(), roaring.New()
		position := int64(0)
		var batch []Item
		var lines []Line
		flush := func() bool {
			err := l.unchecked(ctx, lines)
			for i, item := range batch {
				if bad, ok := errors.AsType[*LineError](err); ok && lines[i].Number == bad.Line {
					break
				} else if err != nil && !ok {
					break
				}
				if !yield(item, nil) {
					return false
				}
			}
			batch, lines = batch[:0], lines[:0]
			if err != nil {
				yield(Item{}, err)
			}
			return err == nil
		}
		for line, err := range ReadLines(io.TeeReader(l.In, digest)) {
			if err != nil {
				if flush() {
					yield(Item{}, fmt.Errorf("%w: %w", ErrBadList, err))
				}
				return
			}
			position++
			if !seen.CheckedAdd(uint32(line.User)) { //nolint:gosec // as in Check
				l.Duplicates++
				continue
			}
			if position <= after {
				continue
			}
			submission := purge.Submission{User: line.User, Key: purge.DefaultKey(line.User), Source: purge.SourceBackfill}
			batch, lines = append(batch, Item{Submission: submission, Position: position}), append(lines, line)
			if len(batch) == purge.MaxBatch && !flush() {
				return
			}
		}
		if flush() {
			l.same(digest, position, yield)
		}
	}
}

// unchecked looks up users whom Check has not looked up. Its error is that of the first wrong line.
func (l *UserList) unchecked(ctx context.Context, lines []Line) error {
	if l.sum != "" {
		return nil
	}
	var all problems
	if err := l.known(ctx, lines, &all); err != nil {
		return err
	}
	if len(all.shown) > 0 {
		return fmt.Errorf("%w: %w", ErrBadList, all.shown[0])
	}
	return nil
}

// same yields an error for a file that has changed since it was checked, and for a pipe without a single id.
func (l *UserList) same(digest hash.Hash, position int64, yield func(Item, error) bool) {
	switch sum := hex.EncodeToString(digest.Sum(nil)); {
	case l.sum != "" && sum != l.sum:
		yield(Item{}, fmt.Errorf("%w: the file was changed while it was read", ErrBadList))
	case l.sum == "" && position == 0:
		yield(Item{}, fmt.Errorf("%w: it holds no user id", ErrBadList))
	}
}

// problems collects what is wrong with a list.
type problems struct {
	shown []*LineError
	more  int
}

func (p *problems) add(problem *LineError) {
	if len(p.shown) < shownProblems {
		p.shown = append(p.shown, problem)
	} else {
		p.more++
	}
}

func (p *problems) err() error {
	if len(p.shown) == 0 {
		return nil
	}
	slices.SortFunc(p.shown, func(a, b *LineError) int { return cmp.Compare(a.Line, b.Line) })
	all := make([]error, len(p.shown))
	for i, problem := range p.shown {
		all[i] = problem
	}
	err := errors.Join(all...)
	if p.more > 0 {
		return fmt.Errorf("%w: %w\nand %d more lines", ErrBadList, err, p.more)
	}
	return fmt.Errorf("%w: %w", ErrBadList, err)
}
