package chaos

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"

	"github.com/certpurge/certpurge/internal/sandbox/demo/audit"
	"github.com/certpurge/certpurge/internal/sandbox/demo/dataset"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
)

// directory is where files of a reference may be.
type directory struct{ bucket, prefix string }

// owners says which directories each row's reference stands for. It is read from the rows as they were before the
// purge, with rules of our own, wider than the product's: every id that a row names, in every bucket. Ids are drawn
// from 128 bits, so a directory of that name in another bucket can only be the same certificate's.
type owners map[dataset.Row][]directory

// prefixes are where the directories begin in each bucket of the site.
func prefixes() map[string][]string {
	roots := map[string][]string{}
	for _, l := range dataset.Locations() {
		roots[l.Bucket] = append(roots[l.Bucket], l.ObjectPrefix)
	}
	for _, bucket := range dataset.Buckets() {
		if roots[bucket] == nil { // of no location
			roots[bucket] = []string{""}
		}
	}
	return roots
}

// keys are the primary keys of the tables that hold references.
var keys = map[string]string{lms.Certificates: "id", lms.History: "history_id"}

// idInURL finds the id of a download URL.
var idInURL = regexp.MustCompile(`downloads/([^/]+)/`)

// directoryID keeps words such as "No Verification" from being taken for a directory.
var directoryID = regexp.MustCompile(`^[0-9A-Fa-f]{16,32}$`)

func readOwners(ctx context.Context, site audit.Site) (owners, error) {
	all := owners{}
	roots := prefixes()
	for table, key := range keys {
		rows, err := site.DB.QueryContext(ctx, fmt.Sprintf(
			"SELECT %s, verify_uuid, download_uuid, download_url FROM %s.%s WHERE download_uuid <> '' OR download_url <> ''",
			key, site.LMS, table))
		if err != nil {
			return nil, fmt.Errorf("reading the references of %s: %w", table, err)
		}
		if err := all.add(rows, table, roots); err != nil {
			return nil, fmt.Errorf("reading the references of %s: %w", table, err)
		}
	}
	return all, nil
}

func (o owners) add(rows *sql.Rows, table string, roots map[string][]string) error {
	defer rows.Close()
	for rows.Next() {
		row := dataset.Row{Table: table}
		var verify, download, url string
		if err := rows.Scan(&row.ID, &verify, &download, &url); err != nil {
			return err
		}
		o[row] = nil // also a row that names no directory is watched
		ids := map[string]bool{download: true}
		if found := idInURL.FindStringSubmatch(url); found != nil {
			ids[found[1]] = true
		}
		for bucket, prefixes := range roots {
			for _, root := range prefixes {
				for id := range ids {
					if directoryID.MatchString(id) {
						o[row] = append(o[row], directory{bucket, root + "downloads/" + id + "/"})
					}
				}
				if directoryID.MatchString(verify) {
					o[row] = append(o[row], directory{bucket, root + "cert/" + verify + "/"})
				}
			}
		}
	}
	return rows.Err()
}
