package purge_test

import (
	"testing"

	"github.com/certpurge/certpurge/internal/purge/purgetest"
)

func TestSituationsOnTheFake(t *testing.T) {
	t.Parallel()
	purgetest.Situations(t, func(_ *testing.T, accept bool) purgetest.World {
		cloud := purgetest.NewCloud()
		cloud.AcceptSoftDelete = accept
		return cloud
	})
}

func TestBooksOnTheFake(t *testing.T) {
	t.Parallel()
	purgetest.Conformance(t, func(*testing.T) purgetest.StoreUnderTest { return purgetest.NewFakeStore() })
}
