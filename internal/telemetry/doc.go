// Package telemetry is what operators watch: logs, metrics, traces and the health of a process. It is the only home of
// OpenTelemetry.
//
// Nothing personal goes through it: ids are numbers, metrics have none, traces hold no more than logs. What it cannot
// report is left out; it never holds up a purge, and never decides one.
package telemetry
