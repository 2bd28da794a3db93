package survey

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/certpurge/certpurge/internal/purge"
)

// Severity says what a finding means for purges.
type Severity string

// With a wrong setting all users of a location fail, with odd rows their users do, and notes are worth knowing.
const (
	Wrong Severity = "wrong"
	Odd   Severity = "odd"
	Note  Severity = "note"
)

// Kind says what a finding is about.
type Kind string

// The kinds of findings.
const (
	WrongVerifyDir    Kind = "wrong_verify_dir"
	Unsigned          Kind = "unsigned"
	NotSigned         Kind = "signed_is_false"
	WrongDownloadsDir Kind = "wrong_downloads_dir"
	WrongPlace        Kind = "wrong_place" // bucket or object_prefix
	FilesMissing      Kind = "files_missing"
	ForeignPrefix     Kind = "foreign_prefix"
	OddRows           Kind = "odd_rows"
	NotLooked         Kind = "not_looked"
	UnusedLocation    Kind = "unused_location"
)

// Finding is one thing that is wrong, in one line.
type Finding struct {
	Severity Severity `json:"severity"`
	Kind     Kind     `json:"kind"`
	Location string   `json:"location,omitempty"`
	Prefix   string   `json:"prefix,omitempty"`
	Text     string   `json:"text"`
}

// base is a directory of PDFs: what a location is known by.
type base struct{ bucket, prefix, downloads string }

// signature is where the verification files beside a directory of PDFs were found.
type signature struct {
	dir           string // empty if they were found nowhere
	found, sample int
}

// numbers writes numbers with separators.
var numbers = message.NewPrinter(language.English)

// judge says what is wrong, and looks for files that are not where they are expected.
func (s *Survey) judge(ctx context.Context, r *Report) error {
	r.places, r.signed, r.search = map[*Group]place{}, map[base]signature{}, newSearch(s.Lister)
	for i := range s.Locations.All() {
		s.judgeLocation(ctx, r, &s.Locations.All()[i])
	}
	for _, g := range r.Groups {
		if g.Taker == purge.TakenByNone && (g.Prefix != "" || g.More) {
			s.judgeForeign(ctx, r, g)
		}
	}
	r.judgeOdd()
	rank := map[Severity]int{Wrong: 0, Odd: 1, Note: 2}
	slices.SortStableFunc(r.Findings, func(x, y Finding) int { return rank[x.Severity] - rank[y.Severity] })
	return ctx.Err()
}

func (r *Report) find(f Finding) { r.Findings = append(r.Findings, f) }

// judgeLocation checks all groups that a location takes.
func (s *Survey) judgeLocation(ctx context.Context, r *Report, l *purge.Location) {
	find := func(severity Severity, kind Kind, format string, args ...any) {
		r.find(Finding{severity, kind, l.Name, "", "location " + l.Name + ": " + numbers.Sprintf(format, args...)})
	}
	wrong := func(kind Kind, format string, args ...any) { find(Wrong, kind, format, args...) }
	var downloads, verification Tally
	var lost []*Group // nothing of their samples is where it is expected
	failure, links := "", 0
	for _, g := range r.Groups {
		if g.Location != l.Name {
			continue
		}
		links += g.Links
		downloads.Add(g.Downloads)
		verification.Add(g.Verification)
		if g.Failure != "" {
			failure = g.Failure
		} else if len(g.sample) > 0 && g.Downloads.Found == 0 && g.Downloads.Erased == 0 {
			lost = append(lost, g)
		}
	}
	switch {
	case failure != "":
		wrong(NotLooked, "its files could not be looked for: %s", failure)
		return
	case links == 0:
		r.find(Finding{Note, UnusedLocation, l.Name, "", "location " + l.Name + ": no link leads to it"})
		return
	}
	for _, g := range lost {
		s.judgeLost(ctx, r, l, g, wrong)
	}
	expected := downloads.Expected
	for _, g := range lost {
		expected -= g.Downloads.Expected
	}
	if downloads.Found < expected {
		find(few(downloads.Found, expected), FilesMissing, "%d of %d sampled downloads directories are empty: requests of "+
			"these users will fail as files_missing",
			expected-downloads.Found, expected)
	}
	if verification.Found > 0 && verification.Found < verification.Expected {
		find(few(verification.Found, verification.Expected), FilesMissing,
			"%d of %d sampled verification directories are empty: if the site signed in some years only, set "+
				"missing_files.verification"+
				" to accept", verification.Expected-verification.Found, verification.Expected)
	}
	s.judgeSignatures(ctx, r, l, verification, wrong)
}

type complain func(kind Kind, format string, args ...any)

// few says what it means that some of a sample are missing: single users' files, or those of whole years.
func few(found, expected int) Severity {
	if 2*found < expected {
		return Wrong
	}
	return Odd
}

// judgeLost looks for the files of a group elsewhere.
func (s *Survey) judgeLost(ctx context.Context, r *Report, l *purge.Location, g *Group, wrong complain) {
	at := l.Parent(purge.Downloads)
	found, ok := s.locate(ctx, r, g)
	switch {
	case !ok:
		wrong(WrongPlace, "gs://%s/%s holds none of the %d sampled certificates under %s, and neither does any directory "+
			"that was tried",
			at.Bucket, at.Prefix, len(g.sample), g.Prefix)
	case found.bucket == l.Bucket && found.prefix == l.ObjectPrefix:
		wrong(WrongDownloadsDir, "downloads_dir %q is wrong: %q holds %d of %d sampled certificates",
			l.DownloadsDir, found.dir, found.found, len(g.sample))
	default:
		wrong(WrongPlace, "the files under %s are elsewhere: gs://%s/%s%s/ holds %d of %d sampled certificates",
			g.Prefix, found.bucket, found.prefix, found.dir, found.found, len(g.sample))
	}
}

// judgeSignatures checks the verification files of a location.
func (s *Survey) judgeSignatures(ctx context.Context, r *Report, l *purge.Location, v Tally, wrong complain) {
	switch {
	case !l.Signed && v.Unexpected > 0:
		wrong(NotSigned, "signed is false, but %d sampled certificates have verification files: set signed to true",
			v.Unexpected)
	case v.Expected == 0 || v.Found > 0:
	case v.Erased > 0: // the directory is right
	default:
		var ids []string
		for _, g := range r.Groups {
			if g.Location == l.Name && g.Downloads.Found > 0 {
				ids = append(ids, verifyIDs(g)...)
			}
		}
		if len(ids) == 0 {
			return // the place itself is wrong, which was said
		}
		sig := s.sign(ctx, r, base{l.Bucket, l.ObjectPrefix, l.DownloadsDir}, ids)
		if sig.dir != "" {
			wrong(WrongVerifyDir, "verify_dir %q is wrong: it holds none of %d sampled certificates, %q holds %d", l.VerifyDir,
				v.Expected,
				sig.dir, sig.found)
			return
		}
		wrong(Unsigned, "no verification files of %d sampled certificates, neither in verify_dir %q nor in "+
			"another directory:"+
			" if the site never signed, set signed to false", v.Expected, l.VerifyDir)
	}
}

// verifyIDs are the ids of the verification directories of a group's sample.
func verifyIDs(g *Group) (ids []string) {
	for _, one := range g.sample {
		if idName.MatchString(one.ref.VerifyUUID) && !slices.Contains(ids, one.ref.VerifyUUID) {
			ids = append(ids, one.ref.VerifyUUID)
		}
	}
	return ids
}

// sign finds the verification directory beside a directory of PDFs, once.
func (s *Survey) sign(ctx context.Context, r *Report, at base, ids []string) signature {
	if known, ok := r.signed[at]; ok && known.dir != "" {
		return known
	}
	known := []string{"cert"}
	for _, l := range s.Locations.All() {
		known = append(known, l.VerifyDir)
	}
	sig := signature{sample: len(ids)}
	if found, ok := r.search.verification(ctx, at.bucket, at.prefix, at.downloads, known, ids); ok {
		sig.dir, sig.found = found.dir, found.found
	}
	r.signed[at] = sig
	return sig
}

// locate finds the PDFs of a group in the buckets that may hold them.
func (s *Survey) locate(ctx context.Context, r *Report, g *Group) (place, bool) {
	var ids []string
	for _, one := range g.sample {
		ids = append(ids, one.id)
	}
	if len(ids) == 0 {
		return place{}, false
	}
	guessed, path := guessBucket(g.Prefix)
	for _, bucket := range s.candidates(guessed) {
		var known []hit
		for _, l := range s.Locations.All() {
			if l.Bucket == bucket {
				known = append(known, hit{l.ObjectPrefix, l.DownloadsDir})
			}
		}
		for _, p := range r.places { // where other groups were found
			if p.bucket == bucket {
				known = append(known, hit{p.prefix, p.dir})
			}
		}
		if bucket != guessed {
			path = g.Prefix[strings.IndexByte(g.Prefix, '/')+1:]
		}
		if found, ok := r.search.downloads(ctx, bucket, path, known, ids); ok {
			r.places[g] = found
			s.sign(ctx, r, base{found.bucket, found.prefix, found.dir}, verifyIDs(g))
			return found, true
		}
	}
	return place{}, false
}

// candidates are the buckets in which files may be.
func (s *Survey) candidates(guessed string) []string {
	var buckets []string
	add := func(names ...string) {
		for _, name := range names {
			if name != "" && !slices.Contains(buckets, name) {
				buckets = append(buckets, name)
			}
		}
	}
	add(guessed)
	add(s.Buckets...)
	add(s.Locations.Buckets()...)
	return buckets
}

// judgeForeign checks links that no location takes.
func (s *Survey) judgeForeign(ctx context.Context, r *Report, g *Group) {
	verb := "begin"
	if g.Links == 1 {
		verb = "begins"
	}
	foreign := func(format string, args ...any) {
		r.find(Finding{Wrong, ForeignPrefix, "", g.Prefix, g.who() + " " + verb + numbers.Sprintf(format, args...)})
	}
	if g.More {
		foreign(" in more than %d ways and are not distinguished", maxGroups)
		return
	}
	if s.isExternal(g) && len(g.sample) == 0 {
		foreign(" with %s, which no location takes, without the id of a certificate: another service's?", g.Prefix)
		return
	}
	if found, ok := s.locate(ctx, r, g); ok {
		foreign(" with %s, which no location takes: gs://%s/%s%s/ holds %d of %d sampled certificates",
			g.Prefix, found.bucket, found.prefix, found.dir, found.found, len(g.sample))
		return
	}
	foreign(" with %s, which no location takes%s", g.Prefix, s.unseen(r, g))
}

// unseen says why the files of a group may be somewhere all the same.
func (s *Survey) unseen(r *Report, g *Group) string {
	if len(g.sample) == 0 {
		return ""
	}
	guessed, _ := guessBucket(g.Prefix)
	text := ", and no bucket that was looked up holds their files"
	if why := r.search.why(s.candidates(guessed)); why != "" {
		text += "; not looked up: " + why
	}
	return text
}

// isExternal reports whether the links of a group cannot be those of edx-certificates, which writes the id into a
// column, too, and has a directory of downloads.
func (s *Survey) isExternal(g *Group) bool {
	if g.withUUID > 0 || g.Prefix == "" || strings.HasPrefix(g.Prefix, "gs://") {
		return false
	}
	dir := lastOf(g.Prefix)
	return dir != "downloads" &&
		!slices.ContainsFunc(s.Locations.All(), func(l purge.Location) bool { return lastOf(l.DownloadsDir) == dir })
}

// judgeOdd counts rows from which no file can be named, in any location.
func (r *Report) judgeOdd() {
	var all []Oddity
	for _, g := range r.Groups {
		if _, moved := r.places[g]; moved {
			continue // the configuration is odd, not the rows
		}
		for _, o := range g.Odd {
			i := slices.IndexFunc(all, func(known Oddity) bool { return known.Text == o.Text })
			if i < 0 {
				all = append(all, o)
				continue
			}
			all[i].Rows += o.Rows
		}
	}
	for _, o := range all {
		r.find(Finding{Odd, OddRows, "", "", fmt.Sprintf("%s: %s, such as %s", Count(o.Rows, "row"), o.Text, o.Example)})
	}
}

// who counts the links and users of a group.
func (g *Group) who() string {
	return fmt.Sprintf("%s of %s (%s retiring)", Count(g.Links, "link"), Count(g.Users, "user"),
		numbers.Sprint(g.Retiring))
}

// Count writes a number of things.
func Count(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return numbers.Sprint(n) + " " + thing
}
