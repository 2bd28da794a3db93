package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/certpurge/certpurge/internal/sandbox"
)

// batch is how many users one call of the enqueuer is given.
const batch = 1000

// start starts a binary in the directory of the environment.
func (d *demo) start(name, binary, dsn string, environ []string, args ...string) (*sandbox.Child, error) {
	return sandbox.StartChild(d.env.Dir, name, "", d.env.Command(binary, dsn, environ, args...))
}

// enqueuer runs the enqueuer to its end.
func (d *demo) enqueuer(ctx context.Context, dsn string, args ...string) error {
	child, err := d.start("enqueuer "+args[0], d.Enqueuer, dsn, nil,
		append([]string{"--config", d.env.Path(EnqueuerFile)}, args...)...)
	if err != nil {
		return err
	}
	return child.Wait(ctx)
}

// enqueue requests the purge of all users.
func (d *demo) enqueue(ctx context.Context) error {
	for ids := range slices.Chunk(d.data.Enqueued(), batch) {
		args := []string{"enqueue"}
		for _, id := range ids {
			args = append(args, strconv.Itoa(id))
		}
		if err := d.enqueuer(ctx, d.env.EnqueuerDSN, args...); err != nil {
			return err
		}
	}
	return nil
}

// address waits until a child has logged where it listens.
func address(ctx context.Context, child *sandbox.Child, message string) (string, error) {
	for {
		text, err := os.ReadFile(child.Log)
		if err != nil {
			return "", fmt.Errorf("reading the log of the %s: %w", child.Name, err)
		}
		for line := range bytes.Lines(text) {
			var entry struct{ Msg, Address string }
			if json.Unmarshal(line, &entry) == nil && entry.Msg == message {
				return entry.Address, nil
			}
		}
		if err := child.Pause(ctx, 20*time.Millisecond); err != nil {
			return "", err
		}
	}
}
