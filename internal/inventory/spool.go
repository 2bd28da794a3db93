package inventory

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
)

// listed is what the listing showed of one directory, or of one name that is no certificate's.
type listed struct {
	root           int    // index of the root
	name           string // what follows the root, up to and with the first slash: an id of 32 digits, or anything
	objects, bytes int64
	oldest, newest int64 // seconds since 1970
}

// id is the id that the directory is named by; odd names have none.
func (d listed) id() (id [16]byte, ok bool) {
	name, isDirectory := strings.CutSuffix(d.name, "/")
	if !isDirectory || len(name) != 32 || strings.ContainsAny(name, "ABCDEF") {
		return id, false
	}
	_, err := hex.Decode(id[:], []byte(name))
	return id, err == nil
}

// spool is a file with a line for each directory that was listed whole, in the order of the listing; so it is a
// checkpoint, too. A line that a crash has cut is dropped.
type spool struct {
	file *os.File
	w    *bufio.Writer
	head header

	last    listed // with which an earlier run ended
	ended   int    // roots that are listed to their end
	objects int64
	lines   int
}

// header is the first line: whose checkpoint it is.
type header struct {
	Version int       `json:"certpurge_inventory"`
	Site    string    `json:"site"`
	Started time.Time `json:"started"`
}

const spoolVersion = 1

// ErrCheckpoint is the class of errors of a checkpoint that cannot be used. It was left as it is.
var ErrCheckpoint = errors.New("the checkpoint cannot be used")

// openSpool opens a file, or begins one; without a path it is one that has no name.
func openSpool(path, site string, now time.Time) (*spool, error) {
	s := &spool{head: header{spoolVersion, site, now.UTC()}}
	var err error
	if path == "" {
		if s.file, err = os.CreateTemp("", "certpurge-inventory-*"); err == nil {
			err = os.Remove(s.file.Name()) // it lives as long as it is open
		}
	} else {
		s.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the operator names it
	}
	if err != nil {
		return nil, fmt.Errorf("opening the checkpoint: %w", err)
	}
	info, err := s.file.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = fmt.Errorf("%w: %s is no file", ErrCheckpoint, path)
	case info.Size() > 0:
		err = s.resume(path, site)
	default:
		var line []byte
		if line, err = json.Marshal(s.head); err == nil {
			_, err = s.file.Write(append(line, '\n'))
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.file.Close())
	}
	s.w = bufio.NewWriterSize(s.file, 1<<16)
	return s, nil
}

// resume reads how far an earlier run came.
func (s *spool) resume(path, site string) error {
	r := bufio.NewReader(s.file)
	first, err := r.ReadString('\n')
	var head header
	if err != nil || json.Unmarshal([]byte(first), &head) != nil || head.Version != spoolVersion {
		return fmt.Errorf("%w: %s was not written by this command: name another file", ErrCheckpoint, path)
	}
	if head.Site != site {
		return fmt.Errorf("%w: %s is of another inventory (%s), this one is of %s: name another file", ErrCheckpoint, path,
			head.Site, site)
	}
	s.head = head
	size := int64(len(first))
	for {
		line, err := r.ReadString('\n')
		if errors.Is(err, io.EOF) { // what is left was cut
			break
		}
		if err != nil {
			return fmt.Errorf("reading the checkpoint: %w", err)
		}
		d, end, err := parseLine(line)
		if err != nil {
			return fmt.Errorf("%w: %s: line %d: %w", ErrCheckpoint, path, s.lines+2, err)
		}
		size += int64(len(line))
		s.note(d, end)
	}
	if err := s.file.Truncate(size); err != nil {
		return fmt.Errorf("going on with the checkpoint: %w", err)
	}
	_, err = s.file.Seek(size, io.SeekStart)
	return err
}

func (s *spool) note(d listed, end bool) {
	s.lines++
	s.last = d
	if end {
		s.ended, s.last = d.root+1, listed{}
	}
	s.objects += d.objects
}

// add appends a directory.
func (s *spool) add(d listed) error {
	s.note(d, false)
	line := s.w.AvailableBuffer()
	for _, n := range []int64{int64(d.root), d.objects, d.bytes, d.oldest, d.newest} {
		line = append(strconv.AppendInt(line, n, 10), ' ')
	}
	_, err := s.w.Write(append(strconv.AppendQuoteToASCII(line, d.name), '\n'))
	return err
}

// end writes that a root was listed to its end.
func (s *spool) end(root int) error {
	s.note(listed{root: root}, true)
	_, err := fmt.Fprintf(s.w, "%d end\n", root)
	return errors.Join(err, s.w.Flush())
}

// parseLine reads what add or end has written.
func parseLine(line string) (d listed, end bool, err error) {
	var numbers [5]int64
	rest := strings.TrimSuffix(line, "\n")
	for i := range numbers {
		word, after, found := strings.Cut(rest, " ")
		if i == 1 && word == "end" {
			return listed{root: int(numbers[0])}, true, nil
		}
		if numbers[i], err = strconv.ParseInt(word, 10, 64); err != nil || !found || numbers[i] < 0 && i < 3 {
			return d, false, errors.New("expected five numbers and a name")
		}
		rest = after
	}
	d = listed{root: int(numbers[0]), objects: numbers[1], bytes: numbers[2], oldest: numbers[3], newest: numbers[4]}
	if len(rest) >= 2 && rest[0] == '"' && strings.IndexByte(rest, '\\') < 0 &&
		strings.IndexByte(rest[1:], '"') == len(rest)-2 {
		d.name = rest[1 : len(rest)-1] // nothing is escaped in it
		return d, false, nil
	}
	d.name, err = strconv.Unquote(rest)
	return d, false, err
}

// each calls do for all directories.
func (s *spool) each(do func(listed) error) error {
	if err := s.w.Flush(); err != nil {
		return fmt.Errorf("writing the checkpoint: %w", err)
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("reading the checkpoint: %w", err)
	}
	r := bufio.NewScanner(s.file)
	r.Buffer(make([]byte, 1<<16), 1<<20)
	for r.Scan() {
		if strings.HasPrefix(r.Text(), "{") {
			continue
		}
		d, end, err := parseLine(r.Text())
		if err != nil {
			return fmt.Errorf("reading the checkpoint: %w", err)
		}
		if end {
			continue
		}
		if err := do(d); err != nil {
			return err
		}
	}
	if err := r.Err(); err != nil {
		return fmt.Errorf("reading the checkpoint: %w", err)
	}
	return nil
}

// close closes the file; remove says whether a run that is complete takes it away.
func (s *spool) close(path string, remove bool) error {
	err := errors.Join(s.w.Flush(), s.file.Close())
	if remove && path != "" {
		if e := os.Remove(path); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}
