package purge

import (
	"fmt"
	"slices"
	"strings"
)

// seen reports whether a file of this user is in the directory, or was until certpurge deleted it. A soft-deleted file
// that certpurge never listed was deleted by another program, which may have moved it. A directory that could not be
// listed counts as seen: it has a problem of its own.
func (d *directory) seen() bool {
	return d.err != nil || d.emptied || d.holdsFile()
}

// holdsFile reports whether the first listing showed a file. A placeholder proves nothing: consoles create one when a
// directory is made by hand, and leave it when the files are moved.
func (d *directory) holdsFile() bool {
	return slices.ContainsFunc(d.found, func(g Generation) bool { return !IsPlaceholder(g.Name) })
}

// IsPlaceholder reports whether an object is no file but a placeholder for a directory: its name ends in a slash.
func IsPlaceholder(name string) bool { return strings.HasSuffix(name, "/") }

// findMissing finds the directories in which files of the reference were expected and never seen. Absence is doubt: the
// files may be somewhere else. If several locations could hold them, they are expected in one of these.
func (r *planned) findMissing() {
	r.missing = map[Kind][]*directory{}
	if r.external || len(r.places) == 0 {
		return
	}
	candidates := r.places // the places in which the PDF is, or was, and the verification files are expected
	for i := range r.places[0].downloads {
		holds := func(at place) bool { return at.downloads[i].seen() }
		if !slices.ContainsFunc(r.places, holds) {
			for _, at := range r.places {
				r.missing[Downloads] = append(r.missing[Downloads], at.downloads[i])
			}
			continue
		}
		candidates = slices.DeleteFunc(slices.Clone(r.places), func(at place) bool { return !holds(at) })
	}
	verified := func(at place) bool { return at.verification != nil && at.verification.seen() }
	if slices.ContainsFunc(r.places, verified) {
		return
	}
	for _, at := range candidates {
		if at.verification != nil && at.location.Signed {
			r.missing[Verification] = append(r.missing[Verification], at.verification)
		}
	}
}

// decideMissing decides about directories in which files were expected and never seen: whether that is accepted, and by
// whom, or whether the location is wrong.
func (w *work) decideMissing(p *Purger, attempt Attempt) []error {
	type group struct {
		kind  Kind
		where string
	}
	certificates := map[group][]CertificateID{}
	var doubts []error
	for _, ref := range w.refs {
		ref.findMissing()
		for _, kind := range []Kind{Downloads, Verification} {
			missing := ref.missing[kind]
			if len(missing) == 0 {
				ref.confirm(p.Misses, kind, attempt.User)
				continue
			}
			accepter := ref.accepter(kind, attempt)
			for _, d := range missing {
				switch {
				case accepter == "":
					d.missing, d.accepter = Missing, ""
				case d.missing == "": // another reference may have refused it
					d.missing, d.accepter = MissingAccepted, accepter
				}
			}
			if accepter != "" {
				continue
			}
			ref.refused = true
			if len(ref.places) == 1 && p.Misses.observe(ref.places[0].location, kind, attempt.User, false) {
				doubts = append(doubts, &Error{Class: Misconfigured, Text: fmt.Sprintf(
					"location %s: the first users had no files in their %s directories", ref.places[0].location.Name, kind)})
			}
			g := group{kind, ref.where(kind)}
			if !slices.Contains(certificates[g], ref.CertificateID) {
				certificates[g] = append(certificates[g], ref.CertificateID)
			}
		}
	}
	if len(doubts) > 0 {
		return doubts
	}
	var problems []error
	for g, ids := range certificates {
		problems = append(problems, &Error{Class: FilesMissing, Text: fmt.Sprintf(
			"the %s directory of %s is empty in %s, and nothing was ever erased there for this user: the files may be "+
				"somewhere else",
			g.kind, list("certificate", ids), g.where)})
	}
	return problems
}

// confirm records that the location of a reference is right, if a file was seen there.
func (r *planned) confirm(misses *Misses, kind Kind, user UserID) {
	if len(r.places) != 1 {
		return
	}
	at := r.places[0]
	dirs := at.downloads
	if kind == Verification {
		dirs = nil
		if at.verification != nil {
			dirs = []*directory{at.verification}
		}
	}
	if slices.ContainsFunc(dirs, func(d *directory) bool { return d.err == nil && d.seen() }) {
		misses.observe(at.location, kind, user, true)
	}
}

// accepter returns who accepted that files of a kind are missing: an operator, for this request, or the settings of all
// locations that could hold them. It is empty if that was not accepted.
func (r *planned) accepter(kind Kind, attempt Attempt) string {
	if attempt.AcceptMissing != "" {
		return attempt.AcceptMissing
	}
	for _, at := range r.places {
		if !at.location.AcceptMissing[kind] {
			return ""
		}
	}
	return fmt.Sprintf("setting missing_files.%s", kind)
}

// where names the places in which files of a kind were expected, without an id.
func (r *planned) where(kind Kind) string {
	var names []string
	for _, at := range r.places {
		names = append(names, fmt.Sprintf("location %s (bucket %s, below %q)", at.location.Name, at.location.Bucket,
			at.location.parent(kind)))
	}
	return strings.Join(names, " and ")
}

// list names things by their ids for a sentence, at most five of them.
func list[T ~int64](what string, ids []T) string {
	const shown = 5
	var names []string
	for _, id := range ids[:min(len(ids), shown)] {
		names = append(names, fmt.Sprint(id))
	}
	text := strings.Join(names, ", ")
	switch more := len(ids) - shown; {
	case len(ids) == 1:
		return what + " " + text
	case more > 0:
		return fmt.Sprintf("%ss %s and %d more", what, text, more)
	default:
		return what + "s " + text
	}
}
