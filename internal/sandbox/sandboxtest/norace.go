//go:build !race

package sandboxtest

var raceFlag []string
