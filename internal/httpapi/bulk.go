package httpapi

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"

	"github.com/certpurge/certpurge/internal/purge"
)

// maxBulk is how many users one call may bring. More belong into a backfill, which takes them at its own pace.
const maxBulk = 10_000

// createMany takes one user on each line: {"user_id": 42}, or the bare number; the object may say where the request
// comes from, too. All lines are checked before any is accepted; the answer has one line for each user, in the order in
// which they first came.
func (s *Server) createMany(w http.ResponseWriter, r *http.Request, key string, data []byte) *problem {
	demands, p := parseLines(data)
	if p != nil {
		return p
	}
	accepted, p := s.accept(r, s.Backfill, key, data, demands)
	if p != nil {
		return p
	}
	w.Header().Set("Content-Type", typeNDJSON)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusAccepted)
	for _, a := range accepted {
		send(w, a)
	}
	return nil
}

// parseLines reads the users of a bulk request, each once: of several lines about one user the first counts.
func parseLines(data []byte) ([]demand, *problem) {
	var demands []demand
	seen := map[purge.UserID]bool{}
	var wrong []string
	n := 0
	for line := range bytes.Lines(data) {
		n++
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		d, p := parseLine(line)
		switch {
		case p != nil && len(wrong) < shownIDs:
			wrong = append(wrong, fmt.Sprintf("line %d: %s", n, p.Detail))
		case p != nil:
		case len(demands) == maxBulk && !seen[d.user]:
			return nil, newProblem(http.StatusRequestEntityTooLarge, "too_many",
				"more than %d users: use several calls, or enqueuer backfill; nothing was accepted", maxBulk)
		case !seen[d.user]:
			seen[d.user] = true
			demands = append(demands, d)
		}
	}
	switch {
	case len(wrong) > 0:
		return nil, newProblem(http.StatusBadRequest, "wrong_lines", "%s; nothing was accepted", strings.Join(wrong, "; "))
	case len(demands) == 0:
		return nil, newProblem(http.StatusBadRequest, "no_users", "the body names no user")
	}
	return demands, nil
}

func parseLine(line []byte) (d demand, p *problem) {
	if line[0] != '{' {
		user, err := purge.ParseUserID(string(line))
		if err != nil {
			return d, newProblem(http.StatusBadRequest, "wrong_line", `expected {"user_id": N} or N, 1 to 2147483647`)
		}
		return demand{user: user}, nil
	}
	var body oneUser
	p = decode(line, &body)
	if p == nil {
		d, p = body.demand()
	}
	return d, p
}

// shownIDs is how many ids or lines a sentence names.
const shownIDs = 10

// someIDs lists ids for a sentence.
func someIDs(ids []purge.UserID) string {
	var parts []string
	for _, id := range ids[:min(len(ids), shownIDs)] {
		parts = append(parts, fmt.Sprint(id))
	}
	if len(ids) > shownIDs {
		parts = append(parts, fmt.Sprintf("and %d more", len(ids)-shownIDs))
	}
	return strings.Join(parts, ", ")
}
