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

// Owners says whose certificates are.
type Owners interface {
	// Owners returns the users of certificates, of deleted ones too if the history knows them. Others are missing.
	Owners(ctx context.Context, ids []purge.CertificateID) (map[purge.CertificateID]purge.UserID, error)
}

// Certificates is the source of single certificates: of each, whatever else its user has. Positions count them, in the
// order of their ids.
type Certificates struct {
	LMS      Owners
	Database string // the LMS's, for the fingerprint

	Duplicates int // ids given again

	ids    []purge.CertificateID
	owners map[purge.CertificateID]purge.UserID
}

// ErrBadCertificates is the class of errors that are the list's own.
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
		return fmt.Errorf("%w: the LMS does not have, or no longer knows the user of: %s (these are ids of certificates, not of users)",
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
			wish := purge.Wish{User: s.owners[id], Certificate: id, Key: purge.CertificateKey(id), Source: purge.SourceBackfill}
			if !yield(Item{Wish: wish, Position: after + int64(i) + 1}, nil) {
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

// Options of upstream's command purge_references_to_pdf_certificates. Its parser also takes their beginnings.
const (
	upstreamIDs    = "--certificate_ids"
	upstreamDryRun = "--dry-run"
)

// ParseArguments reads what upstream's command would be started with, quoted as for a shell. Whatever does not say exactly which
// certificates are meant is ErrBadCertificates. The arguments are never quoted: people write anything into them.
func ParseArguments(text string) (ids []purge.CertificateID, dryRun bool, err error) {
	words, err := shellquote.Split(text)
	if err != nil {
		return nil, false, fmt.Errorf("%w: a quote is not closed, or a backslash stands at the end", ErrBadCertificates)
	}
	var texts []string
	given := false
	for len(words) > 0 {
		name, value, joined := strings.Cut(words[0], "=")
		words = words[1:]
		switch {
		case isOption(name, upstreamDryRun) && !joined:
			dryRun = true
		case isOption(name, upstreamIDs) && !given:
			given = true
			if joined {
				texts = []string{value}
				continue
			}
			end := slices.IndexFunc(words, func(word string) bool { return strings.HasPrefix(word, "-") })
			if end < 0 {
				end = len(words)
			}
			texts, words = words[:end], words[end:]
		default:
			return nil, false, fmt.Errorf("%w: expected %s ID ..., once, and perhaps %s; there is something else", ErrBadCertificates, upstreamIDs, upstreamDryRun)
		}
	}
	ids, err = ParseCertificates(texts)
	return ids, dryRun, err
}

// isOption reports whether a word is an option, or a beginning of it that no other has.
func isOption(word, option string) bool {
	return len(word) > len("--") && strings.HasPrefix(option, word)
}
