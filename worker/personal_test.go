package main

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/certpurge/certpurge/internal/purge"
)

// TestTheLedgerHoldsNothingPersonal purges a user for whom the driver asked by name, and reads all of the ledger.
func TestTheLedgerHoldsNothingPersonal(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	user := s.addUser()
	s.start()
	url, stop := s.serve()
	defer stop()
	if status, answer, err := post(t.Context(), url+"/api/v1/retire_user", `{"username": "learner1"}`, ""); err != nil ||
		status != 204 {
		t.Fatalf("got %d %s, %v", status, answer, err)
	}
	s.await(purge.Done, s.enqueue(user)...)
	rows, err := s.db.Root.QueryContext(t.Context(), "SELECT table_name FROM information_schema.tables WHERE "+
		"table_schema = ?", s.db.Ledger)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	personal := regexp.MustCompile(`(?i)learner|@example|@retired|https?:|Ada`)
	seen := 0
	for rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			t.Fatal(err)
		}
		for _, row := range s.db.DumpTable(t, s.db.Ledger+"."+table) {
			seen++
			if text := fmt.Sprint(row); personal.MatchString(text) {
				t.Errorf("%s holds %q: %s", table, personal.FindString(text), text)
			}
		}
	}
	if err := rows.Err(); err != nil || seen < 10 {
		t.Errorf("got %d rows, %v; want those of a purge", seen, err)
	}
}
