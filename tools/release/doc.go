// Package release tests the scripts that make and check releases (.ci/dist, .ci/dist-verify, .ci/vuln), in a small
// repository whose two programs have a few lines each. The directories below hold the programs that the scripts run. It
// is a module of its own, so that the product does not depend on their libraries. `make releases` runs the tests.
package release
