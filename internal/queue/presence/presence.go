// Package presence publishes what each worker does. A worker keeps its state in Redis, because asynq lists only servers
// that pull tasks.
package presence

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
)

// State is what a worker does.
type State string

// The states of a worker. Only one that pulls takes tasks.
const (
	Starting State = "starting"
	Pulling  State = "pulling"
	Paused   State = "paused"
	Stopping State = "stopping"
)

// Worker is what a worker publishes about itself. Reason is the text of an error that a log may hold, so it names no
// person.
type Worker struct {
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Version string    `json:"version,omitempty"` // empty for a worker of an older version
	State   State     `json:"state"`
	Reason  string    `json:"reason,omitempty"` // why it is paused
	Since   time.Time `json:"since"`            // when it came into the state
}

// String is a part of a sentence.
func (w Worker) String() string {
	text := fmt.Sprintf("%s (process %d) is %s since %s", w.Host, w.PID, w.State, w.Since.UTC().Format(time.RFC3339))
	if w.Reason != "" {
		text += ": " + w.Reason
	}
	return text
}

const (
	// presenceList names the workers of the last day; the state of each is a key of its own, which expires.
	presenceList = "asynq:{certpurge:workers}"
	// presenceInterval is how often a worker writes its state, and presenceLife how long that is valid.
	presenceInterval = 3 * time.Second
	presenceLife     = 10 * time.Second
	// presenceMemory is how long the list names a worker: far above presenceLife and the difference of any clocks.
	presenceMemory = 24 * time.Hour
	maxReason      = 500 // bytes
	// maxWorkers is how many workers are read at most, and maxPresence the size of a state, in bytes.
	maxWorkers  = 1_000
	maxPresence = 4 << 10
)

// Announcer keeps the state of a worker in Redis.
type Announcer struct {
	redis redis.UniversalClient
	name  string
	lost  func() // called when a write to Redis failed

	mu      sync.Mutex
	worker  Worker
	changed chan struct{}
}

// NewAnnouncer makes the Announcer of this process, which is starting. It calls lost whenever a write to Redis fails.
func NewAnnouncer(rdb redis.UniversalClient, version string, lost func()) *Announcer {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	p := &Announcer{
		redis: rdb, lost: lost, changed: make(chan struct{}, 1),
		worker: Worker{
			Host: host, PID: os.Getpid(), Version: version, State: Starting,
			Since: time.Now().UTC().Truncate(time.Second),
		},
	}
	p.name = strings.Join([]string{host, strconv.Itoa(p.worker.PID), rand.Text()}, ":") // process ids repeat in containers
	return p
}

// Set changes the state of the worker.
func (p *Announcer) Set(state State, reason string) {
	if len(reason) > maxReason {
		reason = strings.ToValidUTF8(reason[:maxReason], "") + "…"
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.worker.State == state && p.worker.Reason == reason {
		return
	}
	p.worker.State, p.worker.Reason, p.worker.Since = state, reason, time.Now().UTC().Truncate(time.Second)
	select {
	case p.changed <- struct{}{}:
	default: // the change before is not written yet: both will be
	}
}

// Start keeps the state in Redis, also after ctx has ended, until stop is called; then Redis forgets the worker.
func (p *Announcer) Start(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { p.run(ctx) })
	return func() { cancel(); running.Wait() }
}

func (p *Announcer) run(ctx context.Context) {
	ticker := time.NewTicker(presenceInterval)
	defer ticker.Stop()
	for {
		if err := p.write(ctx); err != nil && ctx.Err() == nil {
			p.lost()
		}
		select {
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), presenceInterval)
			defer cancel()
			_ = p.redis.Del(ctx, presenceKey(p.name)).Err() // or it expires
			return
		case <-p.changed:
		case <-ticker.C:
		}
	}
}

func presenceKey(name string) string { return presenceList + ":" + name }

func (p *Announcer) write(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, presenceInterval)
	defer cancel()
	p.mu.Lock()
	text, err := json.Marshal(p.worker)
	p.mu.Unlock()
	if err != nil {
		return fmt.Errorf("encoding the state of the worker: %w", err)
	}
	now := time.Now()
	_, err = p.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Set(ctx, presenceKey(p.name), text, presenceLife)
		pipe.ZAdd(ctx, presenceList, redis.Z{Score: float64(now.Unix()), Member: p.name})
		pipe.ZRemRangeByScore(ctx, presenceList, "-inf", strconv.FormatInt(now.Add(-presenceMemory).Unix(), 10))
		pipe.Expire(ctx, presenceList, presenceMemory)
		return nil
	})
	return queue.Explain(err)
}

// present reads the states of workers.
func present(ctx context.Context, rdb redis.UniversalClient) ([]Worker, error) {
	names, err := rdb.ZRevRange(ctx, presenceList, 0, maxWorkers-1).Result() // the latest first
	if err != nil || len(names) == 0 {
		return nil, queue.Explain(err)
	}
	texts := make([]*redis.StringCmd, len(names))
	_, err = rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, name := range names {
			texts[i] = p.GetRange(ctx, presenceKey(name), 0, maxPresence-1)
		}
		return nil
	})
	if err != nil && !redis.HasErrorPrefix(err, "WRONGTYPE") {
		return nil, queue.Explain(err)
	}
	var all []Worker
	for _, text := range texts {
		var w Worker
		if json.Unmarshal([]byte(text.Val()), &w) != nil {
			continue // it has expired, is too long, or is of a version with another format
		}
		// Other programs may write there, too.
		w.Host, w.Version = purge.Printable(w.Host), purge.Printable(w.Version)
		w.State, w.Reason = State(purge.Printable(string(w.State))), purge.Printable(w.Reason)
		all = append(all, w)
	}
	return all, nil
}
