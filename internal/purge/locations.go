package purge

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Location is one place in which certificate files are kept, and the links by which the LMS knows it.
type Location struct {
	Name         string
	Bucket       string
	ObjectPrefix string   // empty, or ends in "/"
	DownloadsDir string   // "downloads" in edx-certificates (S3_CERT_PATH)
	VerifyDir    string   // "cert" by default in edx-certificates (S3_VERIFY_PATH)
	URLPrefixes  []string // each ends in "/"; what follows is relative to ObjectPrefix
	// Signed says whether the site signed its certificates: then a verify_uuid beside a reference means that there were
	// verification files. Without it they are erased if there are some, but not expected.
	Signed     bool
	AllowEmpty map[Kind]bool // the directories that may hold nothing when a worker starts
	// AcceptMissing says for which directories a reference is cleared although its directory is empty and nothing was ever
	// erased there. Without it the files may be somewhere else.
	AcceptMissing map[Kind]bool
}

// parent is the directory below which each certificate has a directory of a kind.
func (l *Location) parent(kind Kind) string {
	if kind == Verification {
		return l.ObjectPrefix + l.VerifyDir + "/"
	}
	return l.ObjectPrefix + l.DownloadsDir + "/"
}

func (l *Location) directory(kind Kind, id string) Directory {
	return Directory{l.Bucket, l.parent(kind) + id + "/"}
}

// Kind is which of the two directories of a certificate.
type Kind string

// The kinds of directories.
const (
	Downloads    Kind = "downloads"    // of a download_uuid: the PDF
	Verification Kind = "verification" // of a verify_uuid: the signature and two pages
)

// Locations names the artifacts of references. Make it with NewLocations.
type Locations struct {
	all      []Location
	prefixes []urlPrefix // longest first, so that the most specific one wins
}

type urlPrefix struct {
	prefix string // as NormalLink makes it
	at     int    // index in all, or external
}

// external is the location of links that lead to no file of ours.
const external = -1

// maxURLLength is the width of the download_url column; a database that is not strict cut longer URLs there.
const maxURLLength = 128

// noVerification is what the stanford_cme renderer of edx-certificates stored instead of a verify_uuid.
const noVerification = "No Verification"

// isID reports whether a text is an id: 32 lower-case hexadecimal digits. (Every call of the store checks it; a regular
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
// recognised without being listed, and so is the host that a bucket is named after. Links that begin with one of
// externalPrefixes lead to no file of ours, unless a longer prefix belongs to a location.
func NewLocations(all []Location, externalPrefixes ...string) (Locations, error) {
	l := Locations{all: all}
	seen := map[string]int{} // normalised prefix → location
	name := func(at int) string {
		if at == external {
			return "the external prefixes"
		}
		return "location " + all[at].Name
	}
	add := func(at int, prefix string) error {
		norm, err := NormalLink(prefix)
		if err != nil || !strings.HasSuffix(norm, "/") {
			return fmt.Errorf("%s: URL prefix %q: expected the beginning of a link that ends in \"/\"", name(at), prefix)
		}
		if other, taken := seen[norm]; taken {
			if other == at {
				return nil // listed in another spelling, or known anyway
			}
			return fmt.Errorf("%s: URL prefix %q belongs to %s already", name(at), prefix, name(other))
		}
		seen[norm] = at
		l.prefixes = append(l.prefixes, urlPrefix{norm, at})
		return nil
	}
	var errs []error
	for i, loc := range all {
		if loc.Bucket == "" || loc.DownloadsDir == "" || loc.VerifyDir == "" ||
			(loc.ObjectPrefix != "" && !strings.HasSuffix(loc.ObjectPrefix, "/")) {
			errs = append(errs, fmt.Errorf(
				"location %s: needs a bucket, two directory names and an object prefix that ends in \"/\"", loc.Name))
			continue
		}
		if Nested(loc.DownloadsDir, loc.VerifyDir) {
			errs = append(errs, fmt.Errorf("location %s: its two directories must not be the same, nor one in the other",
				loc.Name))
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
	for _, prefix := range externalPrefixes {
		errs = append(errs, add(external, prefix))
	}
	for i, loc := range all {
		// A bucket that is named after a host is served under it. A prefix listed for another location takes precedence.
		host := loc.Bucket + "/" + loc.ObjectPrefix
		if _, taken := seen[host]; !taken && strings.Contains(loc.Bucket, ".") {
			errs = append(errs, add(i, host))
		}
	}
	if len(all) == 0 {
		errs = append(errs, errors.New("no location is configured"))
	}
	slices.SortStableFunc(l.prefixes, func(a, b urlPrefix) int { return cmp.Compare(len(b.prefix), len(a.prefix)) })
	return l, errors.Join(errs...)
}

// Nested reports whether two directories are the same, or one is in the other: ids in one could then be taken for ids
// in the other.
func Nested(a, b string) bool {
	return strings.HasPrefix(a+"/", b+"/") || strings.HasPrefix(b+"/", a+"/")
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

// Parents returns the directories that must hold something when a worker starts, of all locations or of those with one
// of the names. In a misspelt directory every file would look as if it were gone.
func (l Locations) Parents(names ...string) []Directory {
	var parents []Directory
	for _, loc := range l.all {
		if len(names) > 0 && !slices.Contains(names, loc.Name) {
			continue
		}
		for _, kind := range []Kind{Downloads, Verification} {
			expected := kind == Downloads || loc.Signed
			if expected && !loc.AllowEmpty[kind] {
				parents = append(parents, Directory{loc.Bucket, loc.parent(kind)})
			}
		}
	}
	return parents
}

// Root is a directory below which the certificates' directories of a kind are, of one or more locations.
type Root struct {
	Directory
	Kind Kind
}

// Roots returns the directories below which all certificates' directories are, each once.
func (l Locations) Roots() []Root {
	var roots []Root
	for _, loc := range l.all {
		for _, kind := range []Kind{Downloads, Verification} {
			if root := (Root{Directory{loc.Bucket, loc.parent(kind)}, kind}); !slices.Contains(roots, root) {
				roots = append(roots, root)
			}
		}
	}
	return roots
}

// IsRoot reports whether a directory is one of Roots.
func (l Locations) IsRoot(dir Directory) bool {
	return slices.ContainsFunc(l.Roots(), func(root Root) bool { return root.Directory == dir })
}

// Owns reports whether dir is a directory that Resolve could have named: in a listed bucket, below a known
// directory, one id of 32 hexadecimal digits, closing slash. The store checks this before every call.
func (l Locations) Owns(dir Directory) bool {
	for _, loc := range l.all {
		if loc.Bucket != dir.Bucket {
			continue
		}
		for _, kind := range []Kind{Downloads, Verification} {
			rest, ok := strings.CutPrefix(dir.Prefix, loc.parent(kind))
			id, slash := strings.CutSuffix(rest, "/")
			if ok && slash && isID(id) {
				return true
			}
		}
	}
	return false
}

// Target is where the files of one reference are.
type Target struct {
	Places []Place // one; or one for each location, if the link does not say in which of them the files are
	// External means that the link leads to no file of ours, and that there is no download id. Verification files may lie
	// in the places all the same, but none is expected.
	External bool
	IDs      []string // of its directories, in any location
}

// Place is what a reference names in one location.
type Place struct {
	Location     *Location
	Downloads    []Directory // one; two, if the link holds another download id than the column
	Verification *Directory  // nil without a usable verify_uuid
}

// Directories returns all directories of the target.
func (t Target) Directories() []Directory {
	var dirs []Directory
	for _, place := range t.Places {
		dirs = append(dirs, place.Downloads...)
		if place.Verification != nil {
			dirs = append(dirs, *place.Verification)
		}
	}
	return dirs
}

// Resolve says where the files of a reference are. The error is of class Unrecognised and says which part could not be
// understood, not what it was.
func (l Locations) Resolve(ref Reference) (Target, error) {
	target, problem := l.resolve(ref)
	if problem != "" {
		return Target{}, &Error{Class: Unrecognised, Text: fmt.Sprintf("%v: %s", ref, problem)}
	}
	return target, nil
}

func (l Locations) resolve(ref Reference) (target Target, problem string) {
	switch {
	case ref.DownloadUUID == "" && ref.DownloadURL == "":
		return Target{}, "there is no reference"
	case ref.DownloadUUID != "" && !isID(ref.DownloadUUID):
		return Target{}, "download_uuid is not 32 hexadecimal digits"
	}
	verify := ref.VerifyUUID
	switch {
	case verify == "" || verify == noVerification:
		verify = "" // these certificates have no verification files
	case !isID(verify):
		return Target{}, "verify_uuid is not 32 hexadecimal digits"
	}
	locations, ids := l.all, []string{ref.DownloadUUID}
	if ref.DownloadURL != "" {
		at, id, problem := l.locate(ref)
		switch {
		case problem != "":
			return Target{}, problem
		case at == external:
			target.External = ref.DownloadUUID == "" // with an id, there were files of ours, wherever the link leads
		default:
			locations = l.all[at : at+1]
		}
		if id != "" && id != ref.DownloadUUID {
			ids = append(ids, id)
		}
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { return id == "" })
	target.IDs = ids
	if verify != "" {
		target.IDs = append(slices.Clone(ids), verify)
	}
	if verify != "" && slices.Contains(ids, verify) {
		return Target{}, "verify_uuid and the download id are the same" // edx-certificates made two random ids
	}
	for i := range locations {
		place := Place{Location: &locations[i]}
		for _, id := range ids {
			place.Downloads = append(place.Downloads, place.Location.directory(Downloads, id))
		}
		if verify != "" {
			place.Verification = new(place.Location.directory(Verification, verify))
		}
		target.Places = append(target.Places, place)
	}
	return target, ""
}

// locate finds the location, or external, and the download id of a link; problem says why it could not.
func (l Locations) locate(ref Reference) (at int, id, problem string) {
	norm, err := NormalLink(ref.DownloadURL)
	i := -1
	if err == nil {
		i = l.under(norm)
	}
	if i < 0 {
		return l.guess(ref)
	}
	if at = l.prefixes[i].at; at == external {
		return external, "", ""
	}
	path := strings.TrimPrefix(norm, l.prefixes[i].prefix)
	dir := l.all[at].DownloadsDir + "/"
	if len(ref.DownloadURL) == maxURLLength && ref.DownloadUUID != "" &&
		strings.HasPrefix(dir+ref.DownloadUUID+"/", path) {
		return at, ref.DownloadUUID, "" // cut off by the column's width before or at the end of the id
	}
	rest, ok := strings.CutPrefix(path, dir)
	id, name, slash := strings.Cut(rest, "/")
	if !ok || !isID(id) || !slash && id != ref.DownloadUUID {
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

// under returns the index of the longest prefix that a link begins with; -1 if there is none.
func (l Locations) under(norm string) int {
	return slices.IndexFunc(l.prefixes, func(p urlPrefix) bool { return strings.HasPrefix(norm, p.prefix) })
}

// guess handles a link that is under no prefix. A link with a host or a scheme of its own names another place, however
// malformed it is. Any other link says nothing: the download_uuid decides, if there is only one location, and if the
// link holds no other id.
func (l Locations) guess(ref Reference) (at int, id, problem string) {
	link := strings.TrimSpace(ref.DownloadURL)
	parts := strings.Split(link, "/")
	switch {
	case strings.HasPrefix(link, "//") || strings.ContainsAny(parts[0], ".:"):
		return 0, "", "download_url is under no configured location"
	case slices.Contains(parts, "..") || slices.Contains(parts, "."):
		return 0, "", "download_url has a relative path"
	case ref.DownloadUUID == "":
		return 0, "", "download_url is no URL, and there is no download_uuid"
	case len(l.all) > 1:
		return 0, "", "download_url is no URL, and there are several locations"
	case len(l.all) == 0:
		return 0, "", "download_url is no URL, and there is no location"
	case slices.ContainsFunc(idsIn(link), func(id string) bool { return id != ref.DownloadUUID }):
		return 0, "", "download_url is no URL, and holds another id than download_uuid"
	}
	return 0, ref.DownloadUUID, ""
}

// BucketSettings are what a bucket's own settings mean for an erasure.
type BucketSettings struct {
	Bucket     string
	Versioning bool
	SoftDelete time.Duration // how long a deleted object can be restored; 0 for not at all
	// SoftDeleteUnknown means that the bucket's answer has no field about soft delete, as that of an old emulator.
	SoftDeleteUnknown bool
	Retention         time.Duration // minimum age of an object that may be deleted; 0 for none
	RequesterPays     bool
	ReadAt            time.Time
}
