package httpapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/certpurge/certpurge/internal/config"
)

const (
	// writeTime is how long sending an answer may take, beyond the time for which it is held back.
	writeTime = 2 * time.Minute
	// maxHeader bounds the headers of a request in bytes: a token of 8 KiB and room to spare.
	maxHeader = 32 << 10
	// idleTime is how long a connection may wait for its next request: longer than a load balancer's 60 s, which would
	// otherwise send a request into a connection that is being closed.
	idleTime = 75 * time.Second
)

// Serve answers HTTP/1.1 and HTTP/2 until ctx ends; then stopping is called, and requests in hand get the time to end.
// started is called with the address that was bound.
func Serve(ctx context.Context, cfg config.Serve, log *slog.Logger, handler http.Handler, started func(net.Addr),
	stopping func(),
) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("serve.listen: %w", err)
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{
		Handler: handler, Protocols: &protocols, MaxHeaderBytes: maxHeader, IdleTimeout: idleTime,
		ReadTimeout:  cfg.ReadTimeout,
		WriteTimeout: cfg.ReadTimeout + cfg.Hold + writeTime,
		// what clients do to a connection is not our error
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	if cfg.TLSCertificateFile != "" {
		certificate := &certificateFiles{certificate: cfg.TLSCertificateFile, key: cfg.TLSKeyFile, log: log}
		if _, err := certificate.get(nil); err != nil {
			return errors.Join(err, listener.Close())
		}
		server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certificate.get}
	}
	drained := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		stopping()
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.DrainTimeout)
		defer cancel()
		err := server.Shutdown(within)
		if errors.Is(err, context.DeadlineExceeded) {
			err = server.Close() // what is still in hand is cut; it may be requested again
		}
		drained <- err
	})
	started(listener.Addr())
	if cfg.TLSCertificateFile != "" {
		err = server.ServeTLS(listener, "", "")
	} else {
		err = server.Serve(listener)
	}
	if stop() { // it ended by itself
		return fmt.Errorf("serving: %w", err)
	}
	if err := <-drained; err != nil {
		return fmt.Errorf("stopping the server: %w", err)
	}
	return nil
}

// certificateFiles is a certificate that may be replaced while it is used, as cert-manager does.
type certificateFiles struct {
	certificate, key string
	log              *slog.Logger

	mu      sync.Mutex
	loaded  *tls.Certificate
	changed time.Time // of the newer file, when it was loaded
	looked  time.Time
}

// pollInterval is how often the files are checked.
const pollInterval = time.Second

// get returns the certificate. One that cannot be read leaves the one before in use.
func (c *certificateFiles) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.loaded != nil && now.Sub(c.looked) < pollInterval {
		return c.loaded, nil
	}
	c.looked = now
	changed, err := c.lastChange()
	if err == nil && c.loaded != nil && changed.Equal(c.changed) {
		return c.loaded, nil
	}
	var fresh tls.Certificate
	if err == nil {
		fresh, err = tls.LoadX509KeyPair(c.certificate, c.key)
	}
	switch {
	case err == nil:
		c.loaded, c.changed = &fresh, changed
	case c.loaded == nil:
		return nil, fmt.Errorf("serve.tls_certificate_file and serve.tls_key_file: %w", err)
	default:
		c.log.Error("reading the changed certificate failed: the one before stays in use", slog.Any("error", err))
	}
	return c.loaded, nil
}

// lastChange is when the newer of the two files was changed.
func (c *certificateFiles) lastChange() (time.Time, error) {
	var last time.Time
	for _, path := range []string{c.certificate, c.key} {
		info, err := os.Stat(path)
		if err != nil {
			return last, err
		}
		if info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	return last, nil
}
