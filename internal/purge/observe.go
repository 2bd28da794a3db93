package purge

import "time"

// Step is a part of an attempt whose time is measured.
type Step string

// The steps, in their order.
const (
	StepClaim       Step = "claim"
	StepEligibility Step = "eligibility" // with the references
	StepSharing     Step = "sharing"     // other users of the same directories
	StepList        Step = "list"
	StepIntend      Step = "intend" // with the second check of the eligibility
	StepDelete      Step = "delete"
	StepVerify      Step = "verify" // the second listing
	StepCommit      Step = "commit" // references cleared, evidence written
)

// Steps returns all steps.
func Steps() []Step {
	return []Step{StepClaim, StepEligibility, StepSharing, StepList, StepIntend, StepDelete, StepVerify, StepCommit}
}

// Observer observes attempts while they are made. Its methods are called by many attempts at a time and must be
// quick.
type Observer interface {
	// Took says how long a step took, well or not.
	Took(step Step, d time.Duration)
	// Saw says what a recorded attempt has found out about objects: how many generations with which outcome, and, as
	// Absent, how many directories without any.
	Saw(outcome Outcome, n int)
	// Cleared says how many references a recorded attempt was to clear.
	Cleared(references int)
}

// took reports to the observer, if there is one, how long a step took.
func (p *Purger) took(step Step, begun time.Time) {
	if p.Observer != nil {
		p.Observer.Took(step, time.Since(begun))
	}
}

// recorded reports to the observer what is in the ledger now.
func (p *Purger) recorded(report Report) {
	if p.Observer == nil {
		return
	}
	seen := map[Outcome]int{}
	for _, e := range report.Evidence {
		seen[e.Outcome]++
	}
	for outcome, n := range seen {
		if n > 0 {
			p.Observer.Saw(outcome, n)
		}
	}
	references := 0
	for _, c := range report.Clear {
		references += len(c.References)
	}
	if references > 0 {
		p.Observer.Cleared(references)
	}
}
