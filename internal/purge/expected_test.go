package purge_test

import (
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/purge"
)

func TestExpectCountsEachCertificateAndFileOnce(t *testing.T) {
	t.Parallel()
	a, b, v := strings.Repeat("a", 32), strings.Repeat("b", 32), strings.Repeat("f", 32)
	ref := func(certificate purge.CertificateID, download, verify, url string) purge.Reference {
		return purge.Reference{CertificateID: certificate, DownloadUUID: download, VerifyUUID: verify, DownloadURL: url}
	}
	for name, tc := range map[string]struct {
		refs []purge.Reference
		want purge.Expected
	}{
		"none": {nil, purge.Expected{}},
		"signed": {
			[]purge.Reference{ref(1, a, v, "https://x/y")},
			purge.Expected{Certificates: 1, Files: 4},
		},
		"unsigned": {
			[]purge.Reference{ref(1, a, "", ""), ref(2, b, "No Verification", "")},
			purge.Expected{Certificates: 2, Files: 2},
		},
		"the same in the history": {
			[]purge.Reference{ref(1, a, v, ""), ref(1, a, v, "")},
			purge.Expected{Certificates: 1, Files: 4},
		},
		"regenerated, only history has": {
			[]purge.Reference{ref(1, a, v, ""), ref(1, b, v, "")},
			purge.Expected{Certificates: 1, Files: 5},
		},
		"only a URL": {
			[]purge.Reference{ref(1, "", v, "https://x/y"), ref(1, "", v, "https://x/y")},
			purge.Expected{Certificates: 1, Files: 4},
		},
		"odd ids": {
			[]purge.Reference{ref(1, "odd", v, ""), ref(2, a, "odd", ""), ref(3, strings.ToUpper(a), "", "")},
			purge.Expected{Certificates: 3, Files: 4, Odd: 3},
		},
	} {
		if got := purge.Expect(tc.refs); got != tc.want {
			t.Errorf("%s: got %+v, want %+v", name, got, tc.want)
		}
	}
}
