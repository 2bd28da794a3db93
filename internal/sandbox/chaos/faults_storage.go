package chaos

import (
	"context"
	"time"

	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/purge"
)

func storageFaults() []fault {
	answers := func(name string, plan ...gcstest.Fault) fault {
		return fault{name: name, inject: func(ctx context.Context, e *episode) error { return e.answer(ctx, plan) }}
	}
	return []fault{
		answers("gcs-429", gcstest.Fault{Status: 429, Probability: 0.3}),
		answers("gcs-500", gcstest.Fault{Status: 500, Probability: 0.3}),
		answers("gcs-503", gcstest.Fault{Status: 503, Probability: 0.3}),
		// A gateway that gave up on work that was done, or on work that was not.
		answers("gcs-504", gcstest.Fault{Status: 504, Probability: 0.15, AfterWork: true},
			gcstest.Fault{Status: 504, Probability: 0.15}),
		answers("gcs-reset", gcstest.Fault{Reset: true, Probability: 0.3}),
		answers("gcs-lost-answer", gcstest.Fault{Op: gcstest.OpDelete, Reset: true, AfterWork: true, Probability: 0.2}),
		// Some calls take longer than the worker's call timeout, before their work or after it.
		answers("gcs-slow",
			gcstest.Fault{Latency: 200 * time.Millisecond, Jitter: 2500 * time.Millisecond, Probability: 0.1},
			gcstest.Fault{Latency: 200 * time.Millisecond, Jitter: 2500 * time.Millisecond, Probability: 0.1, AfterWork: true}),
		answers("gcs-proxy",
			gcstest.Fault{Op: gcstest.OpDelete, Proxy: gcstest.ProxyOKHTML, Probability: 0.1},
			gcstest.Fault{Op: gcstest.OpDelete, Proxy: gcstest.ProxyAccepted, Probability: 0.1},
			gcstest.Fault{Op: gcstest.OpDelete, Proxy: gcstest.ProxyRedirect, Probability: 0.1},
			gcstest.Fault{Proxy: gcstest.ProxyNotFoundHTML, Probability: 0.05},
			gcstest.Fault{Proxy: gcstest.ProxyNotFoundEmpty, Probability: 0.05},
			gcstest.Fault{Op: gcstest.OpList, Proxy: gcstest.ProxyOKHTML, Probability: 0.05},
			gcstest.Fault{Op: gcstest.OpList, Proxy: gcstest.ProxyAccepted, Probability: 0.05},
		),
		{name: "gcs-permission", group: "bucket", inject: withdrawPermission},
		{name: "gcs-bucket-renamed", group: "bucket", inject: renameBucket},
	}
}

// answer lets the emulator answer otherwise until ctx ends.
func (e *episode) answer(ctx context.Context, plan []gcstest.Fault) error {
	before := e.env.Storage.Stats().Faulted
	e.storage.set(e.name, plan...)
	<-ctx.Done()
	e.storage.set(e.name)
	// With those of other such faults, where mixed; calls that were only slowed down are not counted, but happened.
	e.tally.hit(e.name, int(max(1, e.env.Storage.Stats().Faulted-before)))
	return nil
}

// withdrawPermission takes the right to delete away, and gives it back.
func withdrawPermission(ctx context.Context, e *episode) error {
	const right = "storage.objects.delete"
	defer e.env.Storage.Allow(purged(), right)
	return e.repeatedly(ctx, 200*time.Millisecond, 600*time.Millisecond, func() error {
		e.hit()
		e.env.Storage.Deny(purged(), right)
		purge.Sleep(ctx, e.rng.between(300*time.Millisecond, 1500*time.Millisecond))
		e.env.Storage.Allow(purged(), right)
		return nil
	})
}

// renameBucket takes the bucket away, and brings it back: what a wrong name in the configuration looks like.
func renameBucket(ctx context.Context, e *episode) error {
	e.hit()
	if err := e.buckets.rename(true); err != nil {
		return err
	}
	<-ctx.Done()
	return e.buckets.rename(false)
}
