package dataset

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
)

// Generation is one stored version of an object.
type Generation struct {
	Bucket, Name string
	Number       int64
}

// Row is a row of an LMS table, by its primary key.
type Row struct {
	Table string
	ID    int64
}

// Expected is what must have become of a site when every request has ended or waits for a date. The values of the maps
// are user ids. Whatever is not in a map must be as it was.
type Expected struct {
	Ends     map[int]End        // of those who were enqueued; no other user has a request
	Erased   map[Generation]int // gone
	HeldBack map[Generation]int // files of retiring users that must still be there
	Cleared  map[Row]int        // references gone, all else in the row as before
	Kept     map[Row]int        // references of retiring users that must still be there
	External map[int]bool       // users with a link of another service, which stays
}

// retention is how long retained files are protected from now on.
const retention = 30 * 24 * time.Hour

// Seed stores the site: rows in the LMS database, objects in the emulator, which serves at base
// ("http://…/storage/v1/"). The site's memory of them is dropped; what remains is the list of users, and what is
// expected of a purge.
func (d *Dataset) Seed(ctx context.Context, db *sql.DB, database string, server *gcstest.Server, base string) (Expected,
	error,
) {
	want := Expected{
		Ends: map[int]End{}, Erased: map[Generation]int{}, HeldBack: map[Generation]int{}, Cleared: map[Row]int{},
		Kept:     map[Row]int{},
		External: map[int]bool{},
	}
	for i := range d.Users {
		if u := &d.Users[i]; u.Enqueued {
			want.Ends[u.ID] = u.Want
		}
	}
	for table, rows := range map[string][]row{lms.Certificates: d.live, lms.History: d.history} {
		for i := range rows {
			switch r := &rows[i]; r.fate {
			case goes:
				want.Cleared[Row{table, int64(r.id)}] = r.user.ID
			case heldBack:
				want.Kept[Row{table, int64(r.id)}] = r.user.ID
			case stays:
				if r.user != nil && r.user.Enqueued && r.user.Retiring && strings.HasPrefix(r.url, ExternalPrefixes()[0]) {
					want.External[r.user.ID] = true
				}
			}
		}
	}
	var wg sync.WaitGroup
	var rowsErr, objectsErr error
	wg.Go(func() { rowsErr = d.insert(ctx, db, database) })
	wg.Go(func() { objectsErr = d.put(ctx, server, base, want) })
	wg.Wait()
	d.live, d.history, d.objects = nil, nil, nil
	return want, errors.Join(rowsErr, objectsErr)
}

// put makes the buckets and stores the objects.
func (d *Dataset) put(ctx context.Context, server *gcstest.Server, base string, want Expected) error {
	for name, cfg := range settings {
		server.CreateBucket(name, cfg)
	}
	for i := range d.objects {
		if ctx.Err() != nil {
			return fmt.Errorf("storing files: %w", context.Cause(ctx))
		}
		o := &d.objects[i]
		for range o.overwritten + 1 {
			number, err := server.Put(o.bucket, o.name, o.learner.files[o.content], o.stored())
			if err != nil {
				return fmt.Errorf("storing file %d of the site: %w", i, err)
			}
			generation := Generation{o.bucket, o.name, number}
			switch o.fate {
			case goes:
				want.Erased[generation] = o.user.ID
			case heldBack:
				want.HeldBack[generation] = o.user.ID
			case stays:
			}
		}
		if o.archived {
			if err := archive(ctx, base, o.bucket, o.name); err != nil {
				return fmt.Errorf("archiving file %d of the site: %w", i, err)
			}
		}
	}
	return nil
}

// stored is what an object is stored with.
func (o *object) stored() gcstest.ObjectOptions {
	options := gcstest.ObjectOptions{
		ContentType: contentTypes[o.content], CacheControl: "public, max-age=3600",
		TemporaryHold: o.options.temporaryHold, EventBasedHold: o.options.eventBasedHold,
	}
	if o.options.retained {
		options.RetainUntil = time.Now().Add(retention).UTC().Truncate(time.Second)
	}
	return options
}

// archive deletes an object as clients usually do: without a generation. In a versioned bucket its bytes stay. There is
// no back door for this, so it goes through the front door.
func archive(ctx context.Context, base, bucket, name string) error {
	target := base + "b/" + url.PathEscape(bucket) + "/o/" + url.PathEscape(name)
	request, err := http.NewRequestWithContext(ctx, http.MethodDelete, target, http.NoBody)
	if err != nil {
		return err
	}
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusNoContent {
		return fmt.Errorf("answer %d", answer.StatusCode)
	}
	return nil
}

// quoted is an identifier for SQL.
func quoted(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// courseID is made up from the certificate: a user has one certificate in a course.
func courseID(certificate int) string {
	return "ExampleX/Course" + strconv.Itoa(certificate%5000) + "/" + strconv.Itoa(2013+certificate%8) + "_T1"
}

// String names the generation for a message.
func (g Generation) String() string { return fmt.Sprintf("gs://%s/%s#%d", g.Bucket, g.Name, g.Number) }
