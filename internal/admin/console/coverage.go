package console

import "net/http"

// coverageView is the page of users who still have links.
type coverageView struct {
	frame

	Covers   bool
	Coverage reading[[]Uncovered]
	Left     int
	Max      int // users that are listed of each class
}

func (c *Console) serveCoverage(w http.ResponseWriter, r *http.Request) {
	v := coverageView{
		frame: c.framed(r, "Coverage", "Coverage"), Covers: c.sources.Coverage != nil, Max: maxUncovered,
	}
	if v.Covers {
		v.Coverage = c.coverage.get(r.Context(), c)
		v.Refresh = !v.Coverage.Known() && r.URL.Query().Get("refresh") != "off"
	}
	for _, u := range v.Coverage.Value {
		v.Left += u.Users
	}
	c.show(w, r, http.StatusOK, "coverage", v)
}
