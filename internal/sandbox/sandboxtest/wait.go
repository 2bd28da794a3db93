package sandboxtest

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"
)

const (
	// patience is far above what any condition takes on a loaded machine; only a test that fails waits so long. At a load
	// of 33 on two cores, the purge of 1,090 users took more than two minutes.
	patience     = 15 * time.Minute
	pollInterval = 10 * time.Millisecond
)

// Eventually waits until a condition holds, and fails the test if it does not come to that. It is for what other
// processes or a library's goroutines do; where a test can get a signal, it waits for that.
func Eventually(tb testing.TB, what string, condition func() bool) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			tb.Fatalf("waited in vain until %s", what)
		case <-ticker.C:
		}
	}
}

// Receive waits for a signal, and fails the test if it does not come.
func Receive[T any](tb testing.TB, what string, signal <-chan T) (value T) {
	tb.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case value = <-signal:
	case <-timer.C:
		tb.Fatalf("waited in vain until %s", what)
	}
	return value
}

// Buffer is a log that many goroutines write, and that a test reads meanwhile.
type Buffer struct {
	mu      sync.Mutex
	written bytes.Buffer
}

// Write implements io.Writer.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.written.Write(p)
}

// String returns all that was written until now.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.written.String()
}
