package chaos

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The scenarios.
const (
	Storm       = "storm"        // each fault alone, then mixtures
	Flush       = "flush"        // Redis emptied again and again under one backfill of everybody
	DeadLetters = "dead-letters" // everybody fails for a missing right, and is queued again once it is back
)

// scenario is what happens while the workers run and the observer watches. When play returns without an error, every
// request has come to its end, or it is written down that it has not.
type scenario struct {
	play   func(*run, context.Context) error
	faults []string // that belong to it; nil lets them be chosen
}

var scenarios = map[string]scenario{
	Storm:       {play: (*run).storm},
	Flush:       {play: (*run).flushed, faults: []string{"redis-flush"}},
	DeadLetters: {play: (*run).deadLetters, faults: []string{}},
}

// Scenarios returns the names of all scenarios.
func Scenarios() []string { return slices.Sorted(maps.Keys(scenarios)) }

// scenario finds the scenario and its faults.
func (o *Options) scenario() (scenario, []fault, error) {
	s, ok := scenarios[o.Scenario]
	if !ok {
		return s, nil, fmt.Errorf("choosing a scenario: there is no %q: expected one of %s", o.Scenario,
			strings.Join(Scenarios(), ", "))
	}
	switch {
	case s.faults == nil:
		chosen, err := choose(o.Faults)
		return s, chosen, err
	case len(o.Faults) > 0:
		return s, nil, fmt.Errorf("choosing faults: the scenario %s has its own, so none can be chosen", o.Scenario)
	case len(s.faults) == 0:
		return s, nil, nil
	default:
		chosen, err := choose(s.faults)
		return s, chosen, err
	}
}
