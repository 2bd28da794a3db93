package main

import (
	"time"

	"github.com/certpurge/certpurge/internal/certificate"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// printTimeline prints what happened to a request, a line each, indented below it.
func (a *app) printTimeline(request purge.RequestID, timeline []mysql.TimelineEntry) {
	for _, e := range timeline {
		if e.Request == request {
			a.printf("  %s  %s\n", e.At.UTC().Format(time.RFC3339), certificate.EntryText(e))
		}
	}
}
