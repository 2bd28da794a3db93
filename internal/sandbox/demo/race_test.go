//go:build race

package demo_test

// raceFlag builds the binaries as this test is built: races in them are found, too, and their packages are compiled once.
var raceFlag = []string{"-race"}
