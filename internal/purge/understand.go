package purge

import "strings"

// Taker says what takes a link.
type Taker string

// The takers.
const (
	TakenByLocation Taker = "location"
	TakenByAny      Taker = "any"      // there is no link; the files may be in any location
	TakenAsExternal Taker = "external" // the link begins with an external prefix
	TakenByNone     Taker = "none"
)

// Understanding is what a reference says, for those who look through many. Unlike Resolve it separates the link, which
// the configuration decides about, from the ids, which only the row does.
type Understanding struct {
	// Prefix is the link's beginning, in the form of NormalLink, up to the directory of the certificate: with the
	// directory's parent, such as downloads/, and with a slash at the end. It is empty without a link, or with one that is
	// none.
	Prefix   string
	Taker    Taker
	Location *Location // of TakenByLocation
	Target   Target    // empty with a Problem
	Problem  string    // why Resolve refuses the reference; one of few texts, without data
	ID       string    // of the download directory, from the column or else the link; empty if there is none
	LinkedID string    // the one in the link
}

// Understand reads a reference as Resolve does.
func (l Locations) Understand(ref Reference) Understanding {
	u := Understanding{ID: ref.DownloadUUID}
	u.Prefix, u.LinkedID = splitLink(ref)
	if !isID(u.ID) {
		u.ID = u.LinkedID
	}
	u.Target, u.Problem = l.resolve(ref)
	if ref.DownloadURL == "" {
		u.Taker = TakenByAny
		return u
	}
	// An id that is odd must not hide where the link leads.
	at, _, problem := l.locate(ref)
	switch {
	case problem == "" && at == external:
		u.Taker = TakenAsExternal
	case problem == "":
		u.Taker, u.Location = TakenByLocation, &l.all[at]
	default:
		u.Taker = TakenByNone
		if norm, err := NormalLink(ref.DownloadURL); err == nil {
			if i := l.under(norm); i >= 0 && l.prefixes[i].at != external {
				u.Taker, u.Location = TakenByLocation, &l.all[l.prefixes[i].at] // the prefix is known, the rest is odd
			}
		}
	}
	return u
}

// splitLink splits a reference's link before the directory of the certificate, and returns what stands before, as
// Understanding.Prefix has it, and the id; the id is empty if the link holds none where a directory would be. A link
// without one is split after downloads/, or after its host.
func splitLink(ref Reference) (prefix, id string) {
	norm, err := NormalLink(ref.DownloadURL)
	if err != nil {
		return "", ""
	}
	start := 0
	if rest, ok := strings.CutPrefix(norm, "gs://"); ok {
		start = len(norm) - len(rest)
	}
	if slash := strings.IndexByte(norm[start:], '/'); slash >= 0 {
		start += slash + 1
	}
	host, path := norm[:start], norm[start:]
	segments := strings.Split(path, "/")
	at := 0
	for i, segment := range segments {
		cut := len(ref.DownloadURL) == maxURLLength && i == len(segments)-1 && segment != "" &&
			isID(ref.DownloadUUID) && strings.HasPrefix(ref.DownloadUUID, segment)
		switch {
		case isID(segment):
			return host + strings.Join(segments[:i], "/") + slashAfter(i), segment
		case cut: // by the column's width
			return host + strings.Join(segments[:i], "/") + slashAfter(i), ref.DownloadUUID
		case segment == downloadsDir && i < len(segments)-1:
			at = i + 1
		}
	}
	return host + strings.Join(segments[:at], "/") + slashAfter(at), ""
}

// downloadsDir is a constant of edx-certificates (S3_CERT_PATH).
const downloadsDir = "downloads"

// slashAfter closes a path of n segments; a path without any is closed by the host's slash.
func slashAfter(n int) string {
	if n == 0 {
		return ""
	}
	return "/"
}

// All returns the locations.
func (l Locations) All() []Location { return l.all }

// Parent is the directory below which each certificate has a directory of a kind.
func (l *Location) Parent(kind Kind) Directory { return Directory{l.Bucket, l.parent(kind)} }
