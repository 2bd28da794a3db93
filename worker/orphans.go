package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/inventory"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/queue/inspect"
	"github.com/certpurge/certpurge/internal/survey"
)

type eraseOptions struct {
	file, dsnFile string
	execute, wait bool
	olderThan     time.Duration
}

// orphanList is a file that an operator has reviewed.
type orphanList struct {
	directories []purge.Directory
	fingerprint string // SHA-256 of the file
}

// orphansFound is what a list comes to at this moment.
type orphansFound struct {
	Directories int                   `json:"directories"`
	Erased      int                   `json:"directories_to_erase"`
	Objects     int                   `json:"objects_to_erase"`
	Bytes       int64                 `json:"bytes_to_erase"`
	Empty       int                   `json:"empty"`
	Left        map[purge.Outcome]int `json:"left"` // why, and how many directories
	Fingerprint string                `json:"fingerprint"`
	Requests    []purge.RequestID     `json:"request_ids"`
}

func eraseOrphans(cmd *cobra.Command, s cli.Streams, path string, o inventoryOptions) error {
	for _, flag := range []string{"list", "checkpoint", "min-age"} {
		if cmd.Flags().Changed(flag) {
			return cli.Usage("--%s does not belong to --erase-orphans", flag)
		}
	}
	switch {
	case o.erase.olderThan < 0:
		return cli.Usage("--older-than %v: expected 0 or more", o.erase.olderThan)
	case *o.format == "csv":
		return cli.Usage("-o csv does not belong to --erase-orphans: expected text or json")
	case !o.erase.execute && (o.erase.wait || o.erase.dsnFile != ""):
		return cli.Usage("--wait and --enqueuer-dsn-file belong to --execute")
	}
	ctx := cmd.Context()
	r, err := openToRead(ctx, s, path)
	if err != nil {
		return err
	}
	defer r.close()
	list, err := readOrphans(o.erase.file, r.purger.Locations)
	if err != nil {
		return err
	}
	before := time.Now().Add(-o.erase.olderThan)
	found, err := r.lookAtOrphans(ctx, list, before)
	if err != nil {
		return cli.Unavailable(err)
	}
	left := found.Directories - found.Erased - found.Empty
	if o.erase.execute {
		if found.Requests, err = r.submitOrphans(ctx, s, o.erase, list, before); err != nil {
			return err
		}
	}
	if *o.format == "json" {
		err = cli.PrintJSON(s.Out, found)
	} else {
		found.print(s.Out, o.erase)
	}
	if err == nil && o.erase.wait {
		left, err = r.awaitOrphans(ctx, s.Err, found.Requests)
	}
	if err == nil && left > 0 {
		err = cli.Errorf(cli.ExitNotDone, "not everything was, or would be, erased")
	}
	return err
}

// maxOrphanList bounds a list: 200 bytes for each of some 5,000,000 directories.
const maxOrphanList = 1 << 30

// readOrphans reads a list in CSV or in lines of JSON. It refuses a list with a line that --list orphan cannot have
// written.
func readOrphans(file string, locations purge.Locations) (orphanList, error) {
	bad := func(line int, format string, args ...any) error {
		return cli.Usage("%s, line %d: %w; nothing was done", file, line, fmt.Errorf(format, args...))
	}
	f, err := os.Open(file) //nolint:gosec // the operator names it
	if err != nil {
		return orphanList{}, cli.Usage("--erase-orphans: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxOrphanList+1))
	switch {
	case err != nil:
		return orphanList{}, cli.Usage("--erase-orphans: %w", err)
	case len(text) > maxOrphanList:
		return orphanList{}, cli.Usage("%s has more than %d bytes: divide it", file, maxOrphanList)
	}
	sum := sha256.Sum256(text)
	list := orphanList{fingerprint: hex.EncodeToString(sum[:])}
	seen := map[purge.Directory]bool{}
	add := func(line int, class, bucket, name string) error {
		dir := purge.Directory{Bucket: bucket, Prefix: name}
		switch {
		case class != string(inventory.Orphan):
			return bad(line, "class %.20q: expected orphan", class)
		case !slices.Contains(locations.Buckets(), bucket):
			return bad(line, "bucket %.80q is that of no location", bucket)
		case !locations.Owns(dir):
			return bad(line, "%.120q is no certificate's directory below a location", name)
		case seen[dir]:
			return bad(line, "the directory is there twice")
		}
		seen[dir] = true
		list.directories = append(list.directories, dir)
		return nil
	}
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		err = readJSONOrphans(text, bad, add)
	} else {
		err = readCSVOrphans(text, bad, add)
	}
	if err == nil && len(list.directories) == 0 {
		err = cli.Usage("%s lists no directory", file)
	}
	return list, err
}

func readJSONOrphans(text []byte, bad func(int, string, ...any) error,
	add func(line int, class, bucket, name string) error,
) error {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		var d inventory.Directory
		if err := json.Unmarshal(lines.Bytes(), &d); err != nil {
			return bad(n, "expected an object as --list orphan -o json writes it")
		}
		if err := add(n, string(d.Class), d.Bucket, d.Name); err != nil {
			return err
		}
	}
	return lines.Err()
}

func readCSVOrphans(text []byte, bad func(int, string, ...any) error,
	add func(line int, class, bucket, name string) error,
) error {
	r := csv.NewReader(bytes.NewReader(text))
	r.FieldsPerRecord = -1
	for first := true; ; first = false {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		line, _ := r.FieldPos(0)
		switch {
		case err != nil:
			return bad(line, "%w", err)
		case len(cells) < 3 || first && strings.Join(cells[:3], ",") != "class,bucket,directory":
			return bad(line, "expected class,bucket,directory and more, as --list orphan writes it")
		case first:
			continue
		}
		if err := add(line, cells[0], cells[1], cells[2]); err != nil {
			return err
		}
	}
}

// orphanReaders is how many directories are listed at a time, within the limits of gcs.
const orphanReaders = 16

// lookAtOrphans says what would become of a list, with the checks of the purge itself.
func (r *reading) lookAtOrphans(ctx context.Context, list orphanList, before time.Time) (orphansFound, error) {
	found := orphansFound{
		Directories: len(list.directories), Left: map[purge.Outcome]int{}, Fingerprint: list.fingerprint,
		Requests: []purge.RequestID{},
	}
	ids := map[[16]byte]bool{}
	idOf := func(dir purge.Directory) (id [16]byte) {
		_, _ = hex.Decode(id[:], []byte(dir.Prefix[len(dir.Prefix)-33:len(dir.Prefix)-1])) // Owns has checked it
		return id
	}
	for _, dir := range list.directories {
		ids[idOf(dir)] = false
	}
	err := r.store.EachReference(ctx, func(_ purge.UserID, ref purge.Reference) error {
		mysql.IDs(ref, func(id [16]byte) {
			if _, asked := ids[id]; asked {
				ids[id] = true
			}
		})
		return nil
	})
	if err != nil {
		return found, err
	}
	var mu sync.Mutex
	readers, ctx := errgroup.WithContext(ctx)
	readers.SetLimit(orphanReaders)
	for _, dir := range list.directories {
		if ids[idOf(dir)] {
			mu.Lock()
			found.Left[purge.Referenced]++
			mu.Unlock()
			continue
		}
		readers.Go(func() error {
			generations, err := r.objects.List(ctx, dir)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case len(generations) == 0:
				found.Empty++
			case slices.ContainsFunc(generations, func(g purge.Generation) bool { return !g.Created.Before(before) }):
				found.Left[purge.TooYoung]++
			default:
				found.Erased++
				found.Objects += len(generations)
				for _, g := range generations {
					found.Bytes += g.Size
				}
			}
			return nil
		})
	}
	return found, readers.Wait()
}

func (f orphansFound) print(w io.Writer, o eraseOptions) {
	cli.Printf(w, "%s: %s with %s (%s) to erase, %s empty\n", survey.Count(f.Directories, "orphan"),
		humanize.Comma(int64(f.Erased)),
		survey.Count(f.Objects, "object"), humanize.IBytes(uint64(f.Bytes)), //nolint:gosec // a sum of sizes
		humanize.Comma(int64(f.Empty)))
	for _, why := range []struct {
		outcome purge.Outcome
		text    string
	}{
		{purge.Referenced, "left: a row of the LMS holds the id by now"},
		{purge.TooYoung, "left: younger than --older-than " + o.olderThan.String()},
	} {
		if n := f.Left[why.outcome]; n > 0 {
			cli.Printf(w, "  %s %s\n", humanize.Comma(int64(n)), why.text)
		}
	}
	cli.Printf(w, "fingerprint of the list: %s\n", f.Fingerprint)
	switch n := len(f.Requests); n {
	case 0:
		fmt.Fprintln(w, "Nothing was done. With --execute, workers erase them.")
	case 1:
		cli.Printf(w, "request %d was made; workers check each directory again before they erase it\n", f.Requests[0])
	default:
		cli.Printf(w, "requests %d to %d were made; workers check each directory again before they erase it\n",
			f.Requests[0], f.Requests[n-1])
	}
}

// submitOrphans makes the requests, under the enqueuer's account, and queues their tasks.
func (r *reading) submitOrphans(
	ctx context.Context, s cli.Streams, o eraseOptions, list orphanList, before time.Time,
) ([]purge.RequestID, error) {
	server := r.cfg.MySQL
	for _, e := range s.Environ {
		if dsn, ok := strings.CutPrefix(e, "CERTPURGE_ENQUEUER_MYSQL_DSN="); ok {
			server.DSN = config.NewSecret(dsn)
		}
	}
	if o.dsnFile != "" {
		dsn, err := os.ReadFile(o.dsnFile)
		if err != nil {
			return nil, cli.Usage("--enqueuer-dsn-file: %w", err)
		}
		server.DSN = config.NewSecret(strings.TrimSuffix(string(dsn), "\n"))
	}
	if server.DSN.Reveal() == r.cfg.MySQL.DSN.Reveal() {
		return nil, cli.Usage("--execute needs the DSN of the enqueuer's account: give --enqueuer-dsn-file, or set " +
			"CERTPURGE_ENQUEUER_MYSQL_DSN")
	}
	store, err := cli.OpenStore(server, r.cfg.LMS)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	rdb, err := cli.NewRedis(r.cfg.Redis)
	if err != nil {
		return nil, err
	}
	defer rdb.Close()
	if err := inspect.Check(ctx, rdb); err != nil {
		return nil, cli.Unavailable(err)
	}
	intake := purge.Intake{
		Requests: store, By: "orphans, " + cli.Operator(),
		Tasks: queue.NewClient(rdb, queue.Backfill, r.cfg.Tasks),
	}
	var requests []purge.RequestID
	part := 0
	for some := range slices.Chunk(list.directories, purge.MaxOrphans) {
		key := purge.OrphanKey(list.fingerprint, part)
		part++
		set, err := store.AddOrphanSet(ctx, key, purge.OrphanSet{Directories: some, Before: before})
		if err != nil {
			return nil, cli.Unavailable(err)
		}
		accepted, err := intake.Accept(ctx, []purge.Submission{{Certificate: set, Key: key, Source: purge.SourceOrphans}})
		if err != nil {
			return nil, cli.Unavailable(fmt.Errorf("after %d requests; the command may be repeated: %w", len(requests), err))
		}
		requests = append(requests, accepted[0].Request)
	}
	return requests, nil
}

// awaitOrphans waits until requests have ended, and returns how many are not done.
func (r *reading) awaitOrphans(ctx context.Context, w io.Writer, ids []purge.RequestID) (notDone int, err error) {
	for {
		rows, err := r.store.Requests(ctx, ids)
		if err != nil {
			return 0, cli.Unavailable(err)
		}
		if !slices.ContainsFunc(rows, func(row mysql.Request) bool { return !row.State.Ended() }) {
			erased := 0
			for _, row := range rows {
				erased += row.ObjectsErased
				if row.State != purge.Done {
					notDone++
					cli.Printf(w, "request %d: %s: %s: %s\n", row.ID, row.State, row.Reason, row.Detail)
				}
			}
			cli.Printf(w, "%s ended, %s erased\n", survey.Count(len(rows), "request"), survey.Count(erased, "object"))
			return notDone, nil
		}
		if !purge.Sleep(ctx, time.Second) {
			return 0, ctx.Err()
		}
	}
}
