// Package telemetry is what operators watch: logs and the health of a process.
package telemetry
