package backfill

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/kballard/go-shellquote"

	"github.com/certpurge/certpurge/internal/purge"
)

// Owners finds the users of certificates.
type Owners interface {
	// Owners returns the users of certificates, of deleted ones too if the history knows them. Others are missing.
	Owners(ctx context.Context, ids []purge.CertificateID) (map[purge.CertificateID]purge.UserID, error)
}

// Certificates is the source of single certificates, without the other certificates of their users. Positions count
// them, in the order of their ids.
type Certificates struct {
	LMS      Owners
	Database string // the LMS's, for the fingerprint

	Duplicates int // ids given again

	ids    []purge.CertificateID
	owners map[purge.CertificateID]purge.UserID
}

// ErrBadCertificates is the class of errors in the list itself.
var ErrBadCertificates = errors.New("the certificates cannot be used")

// Open looks up all of the certificates. One that the LMS does not have is ErrBadCertificates.
func (s *Certificates) Open(ctx context.Context, ids []purge.CertificateID) error {
	s.ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	s.Duplicates = len(ids) - len(s.ids)
	var err error
	if s.owners, err = s.LMS.Owners(ctx, s.ids); err != nil {
		return fmt.Errorf("looking up certificates: %w", err)
	}
	var unknown []string
	for _, id := range s.ids {
		if _, ok := s.owners[id]; !ok {
			unknown = append(unknown, strconv.FormatInt(int64(id), 10))
		}
	}
	if more := len(unknown) - shownProblems; more > 0 {
		unknown = append(unknown[:shownProblems], fmt.Sprintf("and %d more", more))
	}
	if len(unknown) > 0 {
		return fmt.Errorf("%w: the LMS does not have, or no longer knows the user of: %s (these are ids of certificates, "+
			"not of users)",
			ErrBadCertificates, strings.Join(unknown, ", "))
	}
	return nil
}

// Fingerprint implements Source.
func (s *Certificates) Fingerprint() string {
	digest := sha256.New()
	for _, id := range s.ids {
		fmt.Fprintln(digest, id)
	}
	return "single certificates of " + s.Database + " with SHA-256 " + hex.EncodeToString(digest.Sum(nil))
}

// Share implements Source.
func (s *Certificates) Share(position int64) float64 { return float64(position) / float64(len(s.ids)) }

// Items implements Source.
func (s *Certificates) Items(_ context.Context, after int64) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		for i, id := range s.ids[min(after, int64(len(s.ids))):] {
			submission := purge.Submission{
				User: s.owners[id], Certificate: id, Key: purge.CertificateKey(id),
				Source: purge.SourceBackfill,
			}
			if !yield(Item{Submission: submission, Position: after + int64(i) + 1}, nil) {
				return
			}
		}
	}
}

// ParseCertificates reads ids one by one. It reports the first that is none, as ErrBadCertificates.
func ParseCertificates(texts []string) ([]purge.CertificateID, error) {
	ids := make([]purge.CertificateID, len(texts))
	for i, text := range texts {
		var err error
		if ids[i], err = purge.ParseCertificateID(strings.TrimSpace(text)); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBadCertificates, err)
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("%w: expected at least one id", ErrBadCertificates)
	}
	return ids, nil
}

// The options of upstream's command purge_references_to_pdf_certificates that say something here.
const (
	upstreamIDs       = "--certificate_ids"
	upstreamDryRun    = "--dry-run"
	upstreamVerbosity = "--verbosity"
)

// arity says how many values an option takes.
type arity int

const (
	noValue arity = iota
	oneValue
	someValues // one at least
	endsTheCommand
)

// upstreamOptions are the options that upstream's parser knows: the command's own, and those that Django gives every
// command (django/core/management/base.py, 4.2). Those that are not named above change nothing about what is purged.
var upstreamOptions = map[string]arity{
	upstreamIDs: someValues, upstreamDryRun: noValue, "--args-from-database": noValue,
	upstreamVerbosity: oneValue, "--settings": oneValue, "--pythonpath": oneValue,
	"--traceback": noValue, "--no-color": noValue, "--force-color": noValue, "--skip-checks": noValue,
	"--version": endsTheCommand, "--help": endsTheCommand,
}

var errArguments = fmt.Errorf(
	"%w: expected %s ID ..., perhaps %s, and options that every Django command has; there is something else",
	ErrBadCertificates, upstreamIDs, upstreamDryRun)

// ParseArguments reads the arguments of upstream's command as its parser (shlex and argparse of Python) does: an option
// may be shortened as long as it is unambiguous, and of one that is repeated the last counts. Whatever that parser
// refuses, and every id that is none, is ErrBadCertificates. The arguments are never quoted: people write anything into
// them.
func ParseArguments(text string) (ids []purge.CertificateID, dryRun bool, err error) {
	words, err := shellquote.Split(text)
	if err != nil {
		return nil, false, fmt.Errorf("%w: a quote is not closed, or a backslash stands at the end", ErrBadCertificates)
	}
	var texts []string
	for len(words) > 0 {
		name, values, joined := splitOption(words[0])
		words = words[1:]
		takes, known := upstreamOptions[name]
		if !known || takes == endsTheCommand || takes == noValue && joined {
			return nil, false, errArguments
		}
		if takes != noValue && !joined {
			n := 0
			for n < len(words) && isValue(words[n]) && (takes == someValues || n == 0) {
				n++
			}
			if n == 0 {
				return nil, false, fmt.Errorf("%w: %s has no value", ErrBadCertificates, name)
			}
			values, words = words[:n], words[n:]
		}
		switch name {
		case upstreamDryRun:
			dryRun = true
		case upstreamIDs:
			texts = values
		case upstreamVerbosity:
			if level, err := strconv.Atoi(strings.TrimSpace(values[0])); err != nil || level < 0 || level > 3 {
				return nil, false, fmt.Errorf("%w: %s expects a number of 0 to 3", ErrBadCertificates, upstreamVerbosity)
			}
		}
	}
	ids, err = ParseCertificates(texts)
	return ids, dryRun, err
}

// splitOption returns the full name of the option in a word, and the value that is joined to it. The name is empty if
// the word is no option, or an abbreviation of several.
func splitOption(word string) (name string, values []string, joined bool) {
	if rest, short := strings.CutPrefix(word, "-v"); short {
		return upstreamVerbosity, []string{strings.TrimPrefix(rest, "=")}, rest != ""
	}
	given, value, joined := strings.Cut(word, "=")
	values = []string{value}
	if _, known := upstreamOptions[given]; known {
		return given, values, joined
	}
	if !strings.HasPrefix(given, "--") {
		return "", values, joined
	}
	for option := range upstreamOptions {
		if strings.HasPrefix(option, given) {
			if name != "" {
				return "", values, joined
			}
			name = option
		}
	}
	return name, values, joined
}

// isValue reports whether the parser takes a word as a value of the option before it.
func isValue(word string) bool {
	if !strings.HasPrefix(word, "-") || word == "-" {
		return true
	}
	if _, err := strconv.ParseFloat(word, 64); err == nil {
		return true // a negative number
	}
	name, _, _ := splitOption(word)
	return name == "" && strings.Contains(word, " ")
}
