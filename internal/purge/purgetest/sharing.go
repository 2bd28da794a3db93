package purgetest

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certpurge/certpurge/internal/purge"
)

// testSharing names directories in rows of several users: by each column, in both tables, before and after they were
// read.
func testSharing(t *testing.T, s StoreUnderTest) {
	t.Helper()
	id := func(digit string) string { return strings.Repeat(digit, 32) }
	own, owner, verifies, links, former, later := s.NewUser(Retiring), s.NewUser(purge.Retirement{UserExists: true}),
		s.NewUser(Retiring),
		s.NewUser(Retiring), s.NewUser(Retiring), s.NewUser(Retiring)
	s.NewReference(own, purge.Live, id("1"), id("2"), "")
	s.NewReference(own, purge.History, id("1"), id("2"), "") // its own rows are no conflict
	s.NewReference(owner, purge.Live, id("1"), id("3"), "")
	s.NewReference(owner, purge.History, id("4"), "", "")
	s.NewReference(verifies, purge.Live, id("5"), id("1"), "")
	s.NewReference(links, purge.Live, "", "No Verification",
		"https://certs.example.org/downloads/"+id("1")+"/Certificate.pdf")
	emptied := s.NewReference(former, purge.Live, id("6"), id("7"), "")
	copied, copiedHistory := s.NewReference(former, purge.Live, "", id("e"), ""),
		s.NewReference(former, purge.History, "", id("e"), "")
	s.ReadOwners()
	s.ReplaceDownload(emptied, "")
	s.ReplaceVerify(copied, id("d"))
	s.ReplaceVerify(copiedHistory, id("f"))
	s.NewReference(later, purge.Live, id("8"), id("2"), "") // newer than what has been read
	regenerated := s.NewReference(later, purge.History, id("9"), "", "")

	sharing := func(user purge.UserID, ids ...string) []purge.Shared {
		t.Helper()
		got := must[[]purge.Shared](t)(s.Sharing(t.Context(), user, ids))
		slices.SortFunc(got, func(a, b purge.Shared) int { return strings.Compare(a.ID, b.ID)*1000 + int(a.Other-b.Other) })
		return got
	}
	for name, tc := range map[string]struct {
		ids  []string
		want []purge.Shared
	}{
		"by every column": {[]string{id("1")}, []purge.Shared{
			{ID: id("1"), Other: owner},
			{ID: id("1"), Other: verifies},
			{ID: id("1"), Other: links},
		}},
		"of history": {[]string{id("4")}, []purge.Shared{{ID: id("4"), Other: owner}}},
		"of a row that was emptied": {[]string{id("6"), id("7")}, []purge.Shared{
			{ID: id("6"), Other: former}, {ID: id("7"), Other: former},
		}},
		"of a newer row": {
			[]string{id("2"), id("8")},
			[]purge.Shared{{ID: id("2"), Other: later}, {ID: id("8"), Other: later}},
		},
		"newer history": {[]string{id("9")}, []purge.Shared{{ID: id("9"), Other: later}}},
		// Rows that were changed after they were read: verify_uuid has an index in the LMS.
		"of a changed row": {[]string{id("d"), id("e"), id("f")}, []purge.Shared{
			{ID: id("d"), Other: former}, {ID: id("e"), Other: former}, {ID: id("f"), Other: former},
		}},
		"of no other user": {[]string{id("a"), id("b")}, nil},
	} {
		if diff := cmp.Diff(tc.want, sharing(own, tc.ids...)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if got := sharing(owner, id("1"), id("3"), id("4")); len(got) != 3 || got[0].Other != own {
		t.Errorf("the other way round: got %+v, want three others of the first directory", got)
	}
	s.ReplaceDownload(regenerated, id("c"))
	s.ReadOwners()
	if got := sharing(own, id("9"), id("c")); len(got) < 1 ||
		got[len(got)-1] != (purge.Shared{ID: id("c"), Other: later}) {
		t.Errorf("a row that was made anew: got %+v, want its owner", got)
	}
}
