package telemetry

import (
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// NewRegistry makes a registry with the metrics of the Go runtime, of the process and of the build.
func NewRegistry() (*prometheus.Registry, error) {
	r := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "certpurge_build_info", Help: "Always 1. The labels say what runs.", ConstLabels: buildLabels(),
	})
	build.Set(1)
	return r, register(r, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		build)
}

// buildLabels are what the build recorded.
func buildLabels() prometheus.Labels {
	labels := prometheus.Labels{"version": "unknown", "revision": "unknown", "go_version": "unknown"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return labels
	}
	labels["version"], labels["go_version"] = info.Main.Version, info.GoVersion
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			labels["revision"] = s.Value
		}
	}
	return labels
}

// MetricsHandler serves what a registry has. A collector that fails costs its own metrics only, and is logged.
func MetricsHandler(r *prometheus.Registry, log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn), ErrorHandling: promhttp.ContinueOnError, Registry: r,
		EnableOpenMetrics: true,
	})
}

// register registers all, and returns what went wrong.
func register(r prometheus.Registerer, all ...prometheus.Collector) error {
	var failures []error
	for _, c := range all {
		failures = append(failures, r.Register(c))
	}
	return errors.Join(failures...)
}
