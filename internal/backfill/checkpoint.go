package backfill

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Checkpoint is the position of a backfill, kept in a file.
type Checkpoint struct {
	Position int64
	Users    int // requested by all runs so far
	Complete bool

	path   string
	source string
	before int // users of the runs before this one
}

// checkpointFile is what the file holds.
type checkpointFile struct {
	Version  int    `json:"certpurge_checkpoint"`
	Source   string `json:"source"`
	Position int64  `json:"position"`
	Users    int    `json:"users"`
	Complete bool   `json:"complete"`
}

const (
	checkpointVersion = 1
	maxCheckpoint     = 64 << 10 // bytes: ours have a few hundred
)

// OpenCheckpoint reads the checkpoint of a source, or prepares a new one if there is no file. Any other file is refused
// and not changed.
func OpenCheckpoint(path string, source Source) (*Checkpoint, error) {
	c := &Checkpoint{path: path, source: source.Fingerprint()}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking at the checkpoint: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxCheckpoint {
		return nil, fmt.Errorf("%s is no checkpoint: expected a small file that an earlier run has written, or none", path)
	}
	content, err := os.ReadFile(path) //nolint:gosec // the operator names it
	if err != nil {
		return nil, fmt.Errorf("reading the checkpoint: %w", err)
	}
	var f checkpointFile
	if err := json.Unmarshal(content, &f); err != nil || f.Version != checkpointVersion || f.Position < 0 || f.Users < 0 {
		return nil, fmt.Errorf("%s is no checkpoint of this program; nothing was changed", path)
	}
	if f.Source != c.source {
		return nil, fmt.Errorf("%s is the checkpoint of another backfill (%s), this one is of %s: use another file", path,
			f.Source, c.source)
	}
	c.Position, c.Users, c.Complete, c.before = f.Position, f.Users, f.Complete, f.Users
	return c, nil
}

// save replaces the file, so that after a crash there is either the old one or the new one, whole.
func (c *Checkpoint) save(sum Summary) (err error) {
	c.Position, c.Users, c.Complete = sum.Position, c.before+sum.Users, sum.Complete
	content, err := json.Marshal(checkpointFile{
		Version: checkpointVersion, Source: c.source, Position: c.Position, Users: c.Users, Complete: c.Complete,
	})
	if err != nil {
		return fmt.Errorf("encoding the checkpoint: %w", err)
	}
	if err := replaceFile(c.path, append(content, '\n')); err != nil {
		return fmt.Errorf("writing the checkpoint: %w", err)
	}
	return nil
}

// replaceFile writes a temporary file beside the old one, syncs it to disk, and renames it.
func replaceFile(path string, content []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // the old one is still there
		}
	}()
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir) //nolint:gosec // as above
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close()) // so that the rename is on disk, too
}
