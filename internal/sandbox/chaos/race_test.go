//go:build race

package chaos_test

// raceFlag builds the binaries as this test is built: races in them are found, too.
var raceFlag = []string{"-race"}
