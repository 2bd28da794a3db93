package purge

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Location is one place in which certificate files are kept, and the URLs under which the LMS knows it.
type Location struct {
	Name         string
	Bucket       string
	ObjectPrefix string   // empty, or ends in "/"
	DownloadsDir string   // "downloads" in edx-certificates (S3_CERT_PATH)
	VerifyDir    string   // "cert" by default in edx-certificates (S3_VERIFY_PATH)
	URLPrefixes  []string // each ends in "/"; what follows is relative to ObjectPrefix
	AllowEmpty   bool     // whether the downloads directory may hold nothing when a worker starts
}

// Locations names the artifacts of references. Make it with NewLocations.
type Locations struct {
	all      []Location
	prefixes []urlPrefix // longest first, so that the most specific location wins
}

type urlPrefix struct {
	prefix string // normalised
	at     int    // index in all
}

// maxURLLength is the width of the download_url column; a database that is not strict cut longer URLs there.
const maxURLLength = 128

// noVerification is what the stanford_cme renderer of edx-certificates stored instead of a verify_uuid.
const noVerification = "No Verification"

// isID reports whether a text is an id: 32 lower-case hexadecimal digits. (Every call of the store asks; a regular
// expression took ten times as long.)
func isID(text string) bool {
	if len(text) != 32 {
		return false
	}
	for _, c := range []byte(text) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// NewLocations checks the locations and prepares the look-up. The public Google Cloud Storage URLs of a bucket are
// recognised without being listed.
func NewLocations(all []Location) (Locations, error) {
	l := Locations{all: all}
	seen := map[string]int{} // normalised prefix → location
	add := func(at int, prefix string) error {
		norm, err := normaliseURL(prefix)
		if err != nil || !strings.HasSuffix(norm, "/") {
			return fmt.Errorf("location %s: URL prefix %q: expected an absolute URL that ends in \"/\"", all[at].Name, prefix)
		}
		if other, taken := seen[norm]; taken {
			if other == at {
				return nil // listed in another spelling, or known anyway
			}
			return fmt.Errorf("location %s: URL prefix %q belongs to location %s already", all[at].Name, prefix, all[other].Name)
		}
		seen[norm] = at
		l.prefixes = append(l.prefixes, urlPrefix{norm, at})
		return nil
	}
	var errs []error
	for i, loc := range all {
		if loc.Bucket == "" || loc.DownloadsDir == "" || loc.VerifyDir == "" ||
			(loc.ObjectPrefix != "" && !strings.HasSuffix(loc.ObjectPrefix, "/")) {
			errs = append(errs, fmt.Errorf("location %s: needs a bucket, two directory names and an object prefix that ends in \"/\"", loc.Name))
			continue
		}
		path := loc.Bucket + "/" + loc.ObjectPrefix
		own := []string{
			"gs://" + path, "https://storage.googleapis.com/" + path,
			"https://" + loc.Bucket + ".storage.googleapis.com/" + loc.ObjectPrefix,
		}
		for _, prefix := range slices.Concat(own, loc.URLPrefixes) {
			errs = append(errs, add(i, prefix))
		}
	}
	if len(all) == 0 {
		errs = append(errs, errors.New("no location is configured"))
	}
	slices.SortStableFunc(l.prefixes, func(a, b urlPrefix) int { return cmp.Compare(len(b.prefix), len(a.prefix)) })
	return l, errors.Join(errs...)
}

// Buckets returns the allow-list: the buckets of all locations, each once.
func (l Locations) Buckets() []string {
	var names []string
	for _, loc := range l.all {
		if !slices.Contains(names, loc.Bucket) {
			names = append(names, loc.Bucket)
		}
	}
	return names
}

// Parents returns the directories of all locations that must hold something when a worker starts: a misspelt prefix would
// find nothing anywhere, and "prove" that every file is gone.
func (l Locations) Parents() []Directory {
	var parents []Directory
	for _, loc := range l.all {
		if !loc.AllowEmpty {
			parents = append(parents, Directory{loc.Bucket, loc.ObjectPrefix + loc.DownloadsDir + "/"})
		}
	}
	return parents
}

// Owns reports whether dir is a directory that Directories could have named: in a listed bucket, below a known
// directory, one id of 32 hexadecimal digits, closing slash. The store asks it again before every call.
func (l Locations) Owns(dir Directory) bool {
	for _, loc := range l.all {
		if loc.Bucket != dir.Bucket {
			continue
		}
		for _, parent := range []string{loc.DownloadsDir, loc.VerifyDir} {
			rest, ok := strings.CutPrefix(dir.Prefix, loc.ObjectPrefix+parent+"/")
			id, slash := strings.CutSuffix(rest, "/")
			if ok && slash && isID(id) {
				return true
			}
		}
	}
	return false
}

// Directories names everything that a reference stands for: the directory of its download id (two, if the URL holds
// another id than the column) and, beside a usable verify_uuid, the directory of its verification pages. A reference
// without a URL may have its files in any location, so all are named. The error is of class Unrecognised and says
// which part could not be understood, not what it was.
func (l Locations) Directories(ref Reference) ([]Directory, error) {
	fail := func(what string) ([]Directory, error) {
		return nil, &Error{Class: Unrecognised, Text: fmt.Sprintf("%v: %s", ref, what)}
	}
	if ref.DownloadUUID == "" && ref.DownloadURL == "" {
		return fail("there is no reference")
	}
	if ref.DownloadUUID != "" && !isID(ref.DownloadUUID) {
		return fail("download_uuid is not 32 hexadecimal digits")
	}
	locations, ids := l.all, []string{ref.DownloadUUID}
	if ref.DownloadURL != "" {
		at, id, problem := l.locate(ref)
		if problem != "" {
			return fail(problem)
		}
		locations = l.all[at : at+1]
		if id != ref.DownloadUUID {
			ids = append(ids, id)
		}
	}
	verify := ref.VerifyUUID
	switch {
	case verify == "" || verify == noVerification:
		verify = "" // these certificates have no verification pages
	case !isID(verify):
		return fail("verify_uuid is not 32 hexadecimal digits")
	}
	var dirs []Directory
	for _, loc := range locations {
		for _, id := range ids {
			if id != "" {
				dirs = append(dirs, Directory{loc.Bucket, loc.ObjectPrefix + loc.DownloadsDir + "/" + id + "/"})
			}
		}
		if verify != "" {
			dirs = append(dirs, Directory{loc.Bucket, loc.ObjectPrefix + loc.VerifyDir + "/" + verify + "/"})
		}
	}
	return dirs, nil
}

// locate finds the location and the download id of a URL; problem says why it could not.
func (l Locations) locate(ref Reference) (at int, id, problem string) {
	norm, err := normaliseURL(ref.DownloadURL)
	if err != nil {
		return 0, "", "download_url is not an absolute URL"
	}
	i := slices.IndexFunc(l.prefixes, func(p urlPrefix) bool { return strings.HasPrefix(norm, p.prefix) })
	if i < 0 {
		return 0, "", "download_url is under no configured location"
	}
	at = l.prefixes[i].at
	path := strings.TrimPrefix(norm, l.prefixes[i].prefix)
	dir := l.all[at].DownloadsDir + "/"
	if len(ref.DownloadURL) == maxURLLength && ref.DownloadUUID != "" && strings.HasPrefix(dir+ref.DownloadUUID+"/", path) {
		return at, ref.DownloadUUID, "" // cut off by the column's width before or at the end of the id
	}
	rest, ok := strings.CutPrefix(path, dir)
	id, name, slash := strings.Cut(rest, "/")
	if !ok || !slash || !isID(id) {
		return 0, "", "download_url does not lead to a file under the location's downloads directory"
	}
	// A name that climbs out of the directory would be another certificate's file.
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." || part == "." {
			return 0, "", "download_url has a relative path"
		}
	}
	return at, id, ""
}

// normaliseURL reduces a URL to host and decoded path, so that http, https and protocol-relative forms, upper-case hosts
// and default ports compare as equal. gs URLs keep their scheme: the bucket is no host name.
func normaliseURL(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.Opaque != "" {
		return "", errors.New("not an absolute URL")
	}
	host := strings.ToLower(u.Host)
	switch strings.ToLower(u.Scheme) {
	case "gs":
		return "gs://" + host + u.Path, nil
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		host = strings.TrimSuffix(host, ":80")
	case "":
	default:
		return "", errors.New("not a web or bucket URL")
	}
	return host + u.Path, nil
}
