package demo_test

import (
	"strings"
	"sync"
)

// page is what people read, for a test that reads along.
type page struct {
	mu     sync.Mutex
	more   *sync.Cond
	text   strings.Builder
	closed bool
}

func newPage() *page {
	p := &page{}
	p.more = sync.NewCond(&p.mu)
	return p
}

// Write implements io.Writer.
func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.more.Broadcast()
	return p.text.Write(b)
}

// close says that nothing will follow.
func (p *page) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.more.Broadcast()
	p.closed = true
}

// until waits for a whole line that holds what, and returns all that was written, or what there was when nothing
// followed.
func (p *page) until(what string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		_, after, found := strings.Cut(p.text.String(), what)
		if found && strings.Contains(after, "\n") || p.closed {
			return p.text.String()
		}
		p.more.Wait()
	}
}
