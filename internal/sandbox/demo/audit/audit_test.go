package audit_test

import (
	"testing"

	"github.com/certpurge/certpurge/internal/sandbox/demo/dataset"
)

func TestATruePurgePasses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.purge(nil)
	f := w.check()
	if !f.OK() || len(f.Problems) > 0 {
		t.Fatalf("got %+v, want no problem", f)
	}
	for name, pair := range map[string][2]int{
		"objects erased":       {f.ObjectsErased, len(w.want.Erased)},
		"objects held back":    {f.ObjectsHeldBack, len(w.want.HeldBack)},
		"references cleared":   {f.ReferencesCleared, len(w.want.Cleared)},
		"references held back": {f.ReferencesHeldBack, len(w.want.Kept)},
	} {
		if got, want := pair[0], pair[1]; got != want || want == 0 {
			t.Errorf("%s: got %d, want %d, which is not none", name, got, want)
		}
	}
	ends := map[dataset.End]int{}
	for _, end := range w.want.Ends {
		ends[end]++
	}
	for end, want := range ends {
		if got := f.Ends[end]; got != want {
			t.Errorf("%v: got %d, want %d", end, got, want)
		}
	}
}
