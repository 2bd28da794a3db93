package driver_test

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What upstream knows, of openedx/openedx-platform at commit e57a655 unless said otherwise.
var (
	// RETIREMENT_STATES of openedx/envs/common.py at commit 0012533516, and the pair that most sites add.
	upstreamStates = []string{
		"PENDING", "LOCKING_ACCOUNT", "LOCKING_COMPLETE", "RETIRING_FORUMS", "FORUMS_COMPLETE",
		"RETIRING_EMAIL_LISTS", "EMAIL_LISTS_COMPLETE", "RETIRING_ENROLLMENTS", "ENROLLMENTS_COMPLETE",
		"RETIRING_NOTES", "NOTES_COMPLETE", "RETIRING_LMS_MISC", "LMS_MISC_COMPLETE",
		"RETIRING_LMS", "LMS_COMPLETE", "ERRORED", "ABORTED", "COMPLETE",
	}
	ourStates = []string{"RETIRING_PDF_CERTIFICATES", "PDF_CERTIFICATES_COMPLETE"}

	// The methods that a pipeline can name, by service: scripts/user_retirement/utils/edx_api.py; DEMOGRAPHICS is of
	// openedx/tubular at commit fa0363c0.
	upstreamMethods = map[string][]string{
		"LMS": {
			"retirement_deactivate_logout", "retirement_retire_forum", "retirement_retire_mailings", "retirement_unenroll",
			"retirement_retire_notes", "retirement_lms_retire_misc", "retirement_lms_retire", "retirement_partner_queue",
		},
		"LICENSE_MANAGER": {"retire_learner"}, "ECOMMERCE": {"retire_learner"},
		"CREDENTIALS": {"retire_learner"}, "DEMOGRAPHICS": {"retire_learner"},
	}
)

// maxState is the width of user_api_retirementstate.state_name.
const maxState = 30

func TestThePageNamesStatesAndMethodsThatExist(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../../docs/integrations.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	known := append(slices.Clone(upstreamStates), ourStates...)

	// The setting, in the order that populate_retirement_states wants.
	_, rest, _ := strings.Cut(page, "RETIREMENT_STATES = [\n")
	setting, _, found := strings.Cut(rest, "\n]")
	var states []string
	for _, match := range regexp.MustCompile(`"(\w+)"`).FindAllStringSubmatch(setting, -1) {
		states = append(states, match[1])
	}
	last := []string{"ERRORED", "ABORTED", "COMPLETE"}
	if !found || len(states) < 8 || states[0] != "PENDING" || !slices.Equal(states[len(states)-3:], last) {
		t.Errorf("RETIREMENT_STATES: got %q", states)
	}

	// The pipeline.
	stages := regexp.MustCompile(`(?m)^  - \['(\w+)', '(\w+)', '(\w+)', '(\w+)'\]`).FindAllStringSubmatch(page, -1)
	if len(stages) < 2 || len(stages) != strings.Count(page, "\n  - [") {
		t.Fatalf("got the stages %q: are there others that the test cannot read?", stages)
	}
	for _, stage := range stages {
		begin, end, service, method := stage[1], stage[2], stage[3], stage[4]
		if at := slices.Index(states, begin); at < 0 || slices.Index(states, end) != at+1 {
			t.Errorf("the stage %s, %s: the setting above it does not hold this pair", begin, end)
		}
		if !slices.Contains(upstreamMethods[service], method) {
			t.Errorf("the service %s has no method %s, but %q", service, method, upstreamMethods[service])
		}
	}

	// Every name of a state in the page, and every name of a service.
	names := regexp.MustCompile(`\b(?:PENDING|ERRORED|ABORTED|COMPLETE|(?:RETIRING|LOCKING)_[A-Z_]+|[A-Z_]+_COMPLETE)\b`).
		FindAllString(page, -1)
	for _, name := range append(names, states...) {
		if !slices.Contains(known, name) || len(name) > maxState {
			t.Errorf("there is no state %s of at most %d characters", name, maxState)
		}
	}
	for _, state := range known {
		if len(state) > maxState {
			t.Errorf("%s has %d characters, and the LMS has room for %d", state, len(state), maxState)
		}
	}
	services := regexp.MustCompile("(?m)^\\| `([A-Z_]+)`").FindAllStringSubmatch(page, -1)
	if len(services) != len(upstreamMethods)-1 { // all but the LMS itself
		t.Errorf("got the services %q", services)
	}
	for _, service := range services {
		if upstreamMethods[service[1]] == nil {
			t.Errorf("the driver has no service class %s", service[1])
		}
	}
	others := []string{"retire_one_learner", "retire_user", "retire_demographics", "retirement_pipeline"}
	methods := slices.Concat(append(slices.Collect(maps.Values(upstreamMethods)), others)...)
	for _, method := range regexp.MustCompile(`\bretire(?:ment)?_[a-z_]+\b`).FindAllString(page, -1) {
		if !slices.Contains(methods, method) {
			t.Errorf("upstream has no %s", method)
		}
	}
}
