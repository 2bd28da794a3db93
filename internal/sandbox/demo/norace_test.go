//go:build !race

package demo_test

var raceFlag []string
