package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// printTimeline prints what happened to a request, a line each, indented below it.
func (a *app) printTimeline(request purge.RequestID, timeline []mysql.TimelineEntry) {
	for _, e := range timeline {
		if e.Request == request {
			a.printf("  %s  %s\n", e.At.UTC().Format(time.RFC3339), timelineText(e))
		}
	}
}

// timelineText is the sentence of an entry.
func timelineText(e mysql.TimelineEntry) string {
	switch e.Kind {
	case mysql.TimelineAttempt:
		return attemptText(e)
	case mysql.TimelineEnded:
		return "ended as " + outcomeText(e)
	case mysql.TimelineResubmitted:
		return e.Title() + byWhom(e) + "; nothing changed"
	default:
		return e.Title() + byWhom(e)
	}
}

func byWhom(e mysql.TimelineEntry) string {
	text := ""
	if e.Actor != "" {
		text += " by " + e.Actor
	}
	if e.Ticket != "" {
		text += ", ticket " + e.Ticket
	}
	return text
}

func outcomeText(e mysql.TimelineEntry) string {
	if e.Reason == "" {
		return string(e.State)
	}
	return fmt.Sprintf("%s (%s)", e.State, e.Reason)
}

func attemptText(e mysql.TimelineEntry) string {
	var by []string
	for _, text := range []string{e.Worker, e.Software} {
		if text != "" {
			by = append(by, text)
		}
	}
	text := fmt.Sprintf("attempt %d began", e.Attempt)
	if len(by) > 0 {
		text += " (" + strings.Join(by, ", ") + ")"
	}
	switch {
	case e.Running:
		return text + "; intents written, it is running"
	case e.Died:
		return text + "; intents written, no record: the worker died"
	}
	text += "; ended " + e.Ended.UTC().Format(time.RFC3339) + " as " + outcomeText(e)
	if e.Cleared > 0 {
		text += fmt.Sprintf(", links cleared %d", e.Cleared)
	}
	return text
}
