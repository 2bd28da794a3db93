package admin_test

import (
	"log/slog"
	"net/http"
	"testing"

	"github.com/certpurge/certpurge/internal/admin"
)

// The retirement driver completes its stage on a 404.
func TestTheDriverAtTheWrongPortIsNoSuccess(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]http.Handler{
		"pages":  admin.New(admin.Parts{Probes: say("probe")}, admin.Access{}, slog.New(slog.DiscardHandler)),
		"probes": admin.Probes(parts(), admin.Access{}),
	} {
		for _, path := range []string{
			"/api/v1/retire_user/", "/api/v2/user/retire/", "/user/retire/", "/demographics/api/v1/retire_demographics/",
			"/api/v1/retire", "/certpurge/api/v1/retire_user/",
		} {
			if got := ask(t, handler, http.MethodPost, "http://localhost"+path, ""); got.Code != http.StatusBadRequest {
				t.Errorf("%s, %s: got %d, want 400", name, path, got.Code)
			}
		}
	}
}
