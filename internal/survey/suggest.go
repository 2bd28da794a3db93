package survey

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/purge"
)

// Suggestion is the part of a configuration that would fit.
type Suggestion struct {
	Locations []Suggested
	External  []Suggested // with Prefix only
	Undecided []string    // what the survey could not decide
}

// Suggested is one entry, and why it is as it is.
type Suggested struct {
	config.Location

	Prefix string
	Why    []string
}

// Suggest makes locations of the places in which files were found. Configured ones keep their settings, but for what
// the survey has seen to be wrong.
func (s *Survey) Suggest(r *Report) Suggestion {
	var out Suggestion
	for _, l := range s.Configured {
		l.URLPrefixes = slices.Clone(l.URLPrefixes)
		out.Locations = append(out.Locations, Suggested{Location: l})
	}
	for _, prefix := range s.External {
		out.External = append(out.External, Suggested{Prefix: prefix})
	}
	for _, g := range r.Groups {
		at, found := r.places[g]
		switch {
		case found:
			s.take(&out, g, at)
		case g.More:
			out.Undecided = append(out.Undecided, Count(g.Links, "link")+" begin in too many ways to be distinguished")
		case g.Taker == purge.TakenByNone && s.isExternal(g):
			out.External = append(out.External, Suggested{Prefix: written(g.Prefix), Why: []string{g.who() +
				" under this prefix, which name no file of edx-certificates: kept in the LMS unless external_links says clear"}})
		case g.Taker == purge.TakenByNone && g.Prefix != "":
			out.Undecided = append(out.Undecided, fmt.Sprintf("%s under %s%s.", g.who(), g.Prefix, s.unseen(r, g))+
				" Add it to url_prefixes of a location if its files are there, or to external_prefixes"+
				" if they are no files of this site; until then requests with such a link fail.")
		}
	}
	out.dropEmpty(r)
	for i := range out.Locations {
		out.Locations[i].sign(r)
	}
	for _, f := range r.Findings {
		if f.Kind == NotLooked || f.Kind == FilesMissing && f.Severity == Wrong || f.Kind == WrongPlace &&
			!r.moved(f.Location) {
			out.Undecided = append(out.Undecided, f.Text)
		}
	}
	return out
}

// take gives the links of a group to the location in which their files are.
func (s *Survey) take(out *Suggestion, g *Group, at place) {
	why := numbers.Sprintf("%s: %d of %d sampled certificates are there", g.Prefix, at.found, len(g.sample))
	root, ok := strings.CutSuffix(g.Prefix, at.dir+"/")
	if !ok || root != "" && !strings.HasSuffix(root, "/") {
		out.Undecided = append(out.Undecided, fmt.Sprintf("the files under %s are in gs://%s/%s%s/: a link's last "+
			"directory must be"+
			" that of the bucket; copy them there, or make a proxy's path agree", g.Prefix, at.bucket, at.prefix, at.dir))
		return
	}
	i := slices.IndexFunc(out.Locations, func(l Suggested) bool {
		return l.Bucket == at.bucket && l.ObjectPrefix == at.prefix
	})
	if i < 0 {
		l := config.DefaultLocation()
		if j := slices.IndexFunc(s.Configured, func(l config.Location) bool { return l.Name == g.Location }); j >= 0 {
			l = s.Configured[j] // its other settings hold on
			l.URLPrefixes = nil
		}
		l.Name, l.Bucket, l.ObjectPrefix = out.name(at), at.bucket, at.prefix
		i = len(out.Locations)
		out.Locations = append(out.Locations, Suggested{Location: l})
		if !slices.Contains(s.Buckets, at.bucket) && !slices.Contains(s.Locations.Buckets(), at.bucket) {
			out.Locations[i].Why = []string{"bucket: only the links name it; make sure that it is this site's"}
		}
	}
	l := &out.Locations[i]
	l.DownloadsDir = at.dir
	l.Why = append(l.Why, why)
	if l.Name == g.Location {
		return // it has the prefix
	}
	for j := range out.Locations {
		out.Locations[j].URLPrefixes = slices.DeleteFunc(out.Locations[j].URLPrefixes, func(prefix string) bool {
			norm, err := purge.NormalLink(prefix)
			return err == nil && norm == root
		})
	}
	if !l.knows(root) {
		l.URLPrefixes = append(l.URLPrefixes, written(root))
	}
}

// knows reports whether the links of a root are the location's without being listed.
func (l *Suggested) knows(root string) bool {
	path := l.Bucket + "/" + l.ObjectPrefix
	return slices.Contains([]string{
		"gs://" + path, "storage.googleapis.com/" + path, l.Bucket + ".storage.googleapis.com/" + l.ObjectPrefix,
	}, root) || strings.Contains(l.Bucket, ".") && root == path
}

// moved reports whether the files of a location's links were found elsewhere.
func (r *Report) moved(location string) bool {
	return slices.ContainsFunc(r.Groups, func(g *Group) bool {
		_, found := r.places[g]
		return found && g.Location == location
	})
}

// dropEmpty removes configured locations of which all links lead elsewhere.
func (out *Suggestion) dropEmpty(r *Report) {
	out.Locations = slices.DeleteFunc(out.Locations, func(l Suggested) bool {
		mine, gone := 0, 0
		for _, g := range r.Groups {
			at, found := r.places[g]
			if found && at.bucket == l.Bucket && at.prefix == l.ObjectPrefix {
				return false
			}
			if g.Location == l.Name {
				mine++
				if found {
					gone++
				}
			}
		}
		return mine > 0 && mine == gone
	})
}

// sign says where the verification files of a location are.
func (l *Suggested) sign(r *Report) {
	sig, looked := r.signed[base{l.Bucket, l.ObjectPrefix, l.DownloadsDir}]
	switch {
	case looked && sig.dir != "":
		l.VerifyDir, l.Signed = sig.dir, true
		l.Why = append(l.Why, fmt.Sprintf("verification: %d of %d sampled certificates are in %s/", sig.found, sig.sample,
			sig.dir))
	case looked:
		l.Signed = false
		l.Why = append(l.Why, fmt.Sprintf("signed: of %d sampled certificates with a verify_uuid, none has verification "+
			"files in any"+
			" directory that was tried; true, with the right verify_dir, if the site signed", sig.sample))
	case slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Kind == NotSigned && f.Location == l.Name }):
		l.Signed = true
	}
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// name makes the name of a new location.
func (out *Suggestion) name(at place) string {
	name := strings.Trim(notInNames.ReplaceAllString(at.bucket+"-"+at.prefix, "-"), "-")
	name = strings.Trim(name[:min(len(name), 28)], "-")
	for i, base := 2, name; ; i++ {
		if !slices.ContainsFunc(out.Locations, func(l Suggested) bool { return l.Name == name }) {
			return name
		}
		name = fmt.Sprintf("%s-%d", base, i)
	}
}

// written is a normal link as a file has it.
func written(norm string) string {
	if strings.HasPrefix(norm, "/") || strings.HasPrefix(norm, "gs://") {
		return (&url.URL{Path: norm}).EscapedPath()
	}
	host, path, _ := strings.Cut(norm, "/")
	path = (&url.URL{Path: "/" + path}).EscapedPath()
	if strings.Contains(host, ":") { // with a scheme, its default port would be dropped
		return host + path
	}
	return "https://" + host + path
}

// Write writes the suggestion as YAML that the worker's configuration can hold, with the reasons as comments.
func (out Suggestion) Write(w io.Writer) error {
	locations, external := &yaml.Node{Kind: yaml.SequenceNode}, &yaml.Node{Kind: yaml.SequenceNode}
	defaults, err := fields(config.DefaultLocation())
	if err != nil {
		return err
	}
	for _, l := range out.Locations {
		node, err := fields(l.Location)
		if err != nil {
			return err
		}
		node.Content = withoutDefaults(node.Content, defaults.Content)
		node.HeadComment = comment(l.Why)
		locations.Content = append(locations.Content, node)
	}
	for _, e := range out.External {
		node := &yaml.Node{Kind: yaml.ScalarNode, Value: e.Prefix, HeadComment: comment(e.Why)}
		external.Content = append(external.Content, node)
	}
	if len(external.Content) == 0 {
		external.Style = yaml.FlowStyle
	}
	key := func(name string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: name} }
	file := &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{
		key("locations"), locations, key("external_prefixes"), external,
	}}
	for _, u := range out.Undecided {
		if _, err := fmt.Fprintln(w, comment([]string{"not decided: " + u})); err != nil {
			return fmt.Errorf("writing a suggestion: %w", err)
		}
	}
	encoder := yaml.NewEncoder(w)
	encoder.SetIndent(2)
	if err := cmp.Or(encoder.Encode(file), encoder.Close()); err != nil {
		return fmt.Errorf("writing a suggestion: %w", err)
	}
	return nil
}

// fields makes a mapping of a location.
func fields(l config.Location) (*yaml.Node, error) {
	node := &yaml.Node{}
	if err := node.Encode(l); err != nil {
		return nil, fmt.Errorf("writing a suggestion: %w", err)
	}
	return node, nil
}

// withoutDefaults drops the keys whose values are the defaults, but for the two directories, which people look for.
func withoutDefaults(pairs, defaults []*yaml.Node) (kept []*yaml.Node) {
	for i := 0; i < len(pairs); i += 2 {
		name := pairs[i].Value
		at := slices.IndexFunc(defaults, func(n *yaml.Node) bool { return n.Value == name })
		if at >= 0 && reflect.DeepEqual(pairs[i+1], defaults[at+1]) && name != "downloads_dir" && name != "verify_dir" {
			continue
		}
		kept = append(kept, pairs[i], pairs[i+1])
	}
	return kept
}

// commentWidth is the width of the lines of comments.
const commentWidth = 110

// comment folds texts into lines of comment.
func comment(texts []string) string {
	var lines []string
	for _, text := range texts {
		line := "#"
		text = strings.Map(func(r rune) rune { // links are what other people wrote
			if !unicode.IsPrint(r) {
				return ' '
			}
			return r
		}, text)
		for word := range strings.FieldsSeq(text) {
			if len(line)+1+len(word) > commentWidth && line != "#" {
				lines = append(lines, line)
				line = "#  "
			}
			line += " " + word
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}
