package chaos

import (
	"strings"
	"testing"
)

func TestFaultsAreChosenByName(t *testing.T) {
	t.Parallel()
	everything := strings.Join(Names(), ",")
	for given, want := range map[string]string{
		"":                             everything,
		"all":                          everything,
		"redis-flush,gcs-503":          "redis-flush,gcs-503",
		"redis-flush,redis-flush":      "redis-flush",
		"redis-flush,-redis-flush":     "choosing faults: none is left",
		"all,-" + Names()[0]:           strings.TrimPrefix(everything, Names()[0]+","),
		"redis-flush,gcs-503,-gcs-503": "redis-flush",
	} {
		var names []string
		if given != "" {
			names = strings.Split(given, ",")
		}
		chosen, err := choose(names)
		var got []string
		for _, f := range chosen {
			got = append(got, f.name)
		}
		if err != nil {
			got = append(got, err.Error())
		}
		if got := strings.Join(got, ","); got != want {
			t.Errorf("%q: got %s, want %s", given, got, want)
		}
	}
}
