package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

const (
	// askInterval is the least time between two fetches that tokens request. Without it, any caller could have the LMS
	// asked with every request.
	askInterval = time.Minute
	// retryInterval is the time until the next try of a fetch that has failed.
	retryInterval = 15 * time.Second
)

// keySet are the public keys of the LMS. They are replaced whole by a fetch that succeeds; one that fails leaves them.
type keySet struct {
	fetch   func(context.Context) ([]byte, error)
	refresh time.Duration
	log     *slog.Logger
	now     func() time.Time

	mu       sync.Mutex
	keys     []publicKey
	failure  error // of the last fetch, or that there was none yet
	inflight chan struct{}
	nextAsk  time.Time
}

func newKeySet(cfg Config) (*keySet, error) {
	s := &keySet{
		refresh: cfg.JWT.JWKSRefresh, log: cfg.Log, now: clock(cfg.Now),
		failure: errors.New("they were not fetched yet"),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.refresh <= 0 {
		return nil, errors.New("keeping the key set fresh: jwt.jwks_refresh must be set")
	}
	if cfg.JWT.JWKSFile == "" {
		s.fetch = fetchURL(cfg.JWT.JWKSURL, cfg.Transport)
		return s, nil
	}
	s.fetch = fetchFile(cfg.JWT.JWKSFile)
	s.load(context.Background()) // A file is there or is not; waiting does not help.
	if s.failure != nil {
		return nil, fmt.Errorf("reading jwt.jwks_file: %w", s.failure)
	}
	return s, nil
}

// open checks a token with the keys that its header allows. If none opens it, the key may be new, and the set is
// fetched: also for a key id that is known, because sites exist that give each new key the id of the old one (Tutor
// does). Only a set that was fetched since the token came shows that the token is wrong. Where the set may not be
// fetched yet, because another token has just had it fetched, the answer is that the key is not available now.
func (s *keySet) open(ctx context.Context, token string, h header) (*claims, error) {
	c, err := s.try(token, h)
	if !isAboutKeys(err) {
		return c, err
	}
	isFetched, wait := s.ask(ctx)
	c, err = s.try(token, h)
	if isAboutKeys(err) && (!isFetched || s.lastFailure() != nil) {
		return nil, &Error{Code: KeysUnavailable, After: wait}
	}
	return c, err
}

// try checks a token with each key that its header allows.
func (s *keySet) try(token string, h header) (*claims, error) {
	s.mu.Lock()
	keys := s.keys
	s.mu.Unlock()
	if len(keys) == 0 || h.KeyID != nil && !slices.ContainsFunc(keys, func(k publicKey) bool { return k.id == *h.KeyID }) {
		return nil, refuse(KeyUnknown)
	}
	err := refuse(AlgorithmNotAllowed) // The key is there, but is one for another algorithm.
	if h.KeyID == nil {
		err = refuse(SignatureInvalid)
	}
	for _, key := range keys {
		if !key.accepts(h) {
			continue
		}
		var c *claims
		if c, err = open(token, h.Algorithm, key.key); err == nil {
			return c, nil
		}
	}
	return nil, err
}

// isAboutKeys reports whether another key might have opened the token.
func isAboutKeys(err error) bool {
	code := codeOf(err)
	return code == KeyUnknown || code == SignatureInvalid
}

func (s *keySet) lastFailure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// ask waits for a fetch of the set, and reports whether one began since it was called, and after which time the next
// one may be requested. It starts one unless one was started within the last minute; many callers wait for the same
// one.
func (s *keySet) ask(ctx context.Context) (isFetched bool, wait time.Duration) {
	s.mu.Lock()
	inflight, now := s.inflight, s.now()
	if inflight == nil && !now.Before(s.nextAsk) {
		s.nextAsk = now.Add(askInterval)
		inflight, isFetched = s.startFetch(), true
		// Not ended with the request that asked: others may be waiting for it. It has a time-out of its own.
		go s.runFetch(context.WithoutCancel(ctx), inflight)
	}
	wait = max(0, s.nextAsk.Sub(now))
	s.mu.Unlock()
	if inflight == nil {
		return false, wait
	}
	select {
	case <-inflight:
		return isFetched, wait
	case <-ctx.Done():
		return false, wait
	}
}

// load fetches the set, or waits for the fetch that is under way.
func (s *keySet) load(ctx context.Context) {
	s.mu.Lock()
	inflight := s.inflight
	isOurs := inflight == nil
	if isOurs {
		inflight = s.startFetch()
	}
	s.mu.Unlock()
	if isOurs {
		s.runFetch(ctx, inflight)
		return
	}
	<-inflight
}

// startFetch marks that a fetch is under way. The caller holds the lock.
func (s *keySet) startFetch() chan struct{} {
	s.inflight = make(chan struct{})
	return s.inflight
}

// runFetch fetches the set, takes it over and wakes those who wait.
func (s *keySet) runFetch(ctx context.Context, inflight chan struct{}) {
	document, err := s.fetch(ctx)
	var keys []publicKey
	if err == nil {
		keys, err = parseKeys(document)
	}
	s.mu.Lock()
	if err == nil {
		s.keys = keys
	}
	s.failure = err
	s.inflight = nil
	s.mu.Unlock()
	if err != nil && ctx.Err() == nil {
		s.log.WarnContext(ctx, "fetching the key set failed", slog.Any("error", err))
	}
	close(inflight)
}

// run keeps the set fresh until ctx is done.
func (s *keySet) run(ctx context.Context) {
	for {
		s.load(ctx)
		wait := s.refresh
		if s.lastFailure() != nil {
			wait = min(wait, retryInterval)
		}
		if !purge.Sleep(ctx, wait) {
			return
		}
	}
}

// ready returns an error if no keys were ever read.
func (s *keySet) ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys != nil {
		return nil
	}
	return fmt.Errorf("reading the key set of the LMS: %w", s.failure)
}
