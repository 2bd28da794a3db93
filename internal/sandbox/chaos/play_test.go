package chaos

import (
	"fmt"
	"strings"
	"testing"
)

// scheduleOf describes the episodes of a seed.
func scheduleOf(seed uint64, faults []fault, users int) string {
	r := &run{rng: newDice(seed), faults: faults}
	var ids []int
	for id := range users {
		ids = append(ids, id)
	}
	var text strings.Builder
	for _, w := range r.schedule(ids) {
		for _, f := range w.faults {
			text.WriteString(f.name + " ")
		}
		fmt.Fprintln(&text, w.users)
	}
	return text.String()
}

func TestASeedRepeatsTheWeather(t *testing.T) {
	t.Parallel()
	first := scheduleOf(1, catalogue(), 100)
	if again := scheduleOf(1, catalogue(), 100); again != first {
		t.Errorf("got %s, want the same as before: %s", again, first)
	}
	if other := scheduleOf(2, catalogue(), 100); other == first {
		t.Error("another seed has the same schedule")
	}
}

func TestEveryFaultIsPlayedAloneAndEveryUserOnce(t *testing.T) {
	t.Parallel()
	const users = 300
	r := &run{rng: newDice(3), faults: catalogue()}
	ids := make([]int, users)
	for i := range ids {
		ids[i] = i + 1
	}
	alone, asked := map[string]bool{}, map[int]bool{}
	for _, w := range r.schedule(ids) {
		if len(w.faults) == 1 {
			alone[w.faults[0].name] = true
		}
		groups := map[string]bool{}
		for _, f := range w.faults {
			if f.group != "" && groups[f.group] {
				t.Errorf("two faults of the group %q are mixed", f.group)
			}
			groups[f.group] = true
		}
		for _, user := range w.users {
			if asked[user] {
				t.Errorf("user %d is in two episodes", user)
			}
			asked[user] = true
		}
	}
	for _, name := range Names() {
		if !alone[name] {
			t.Errorf("%s is not played alone", name)
		}
	}
	if len(asked) != users {
		t.Errorf("got %d users asked for, want %d", len(asked), users)
	}
}
