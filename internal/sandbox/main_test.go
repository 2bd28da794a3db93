package sandbox_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/certpurge/certpurge/internal/sandbox"
)

// helperVariable makes this test binary a process that starts servers and waits to be killed.
const helperVariable = "CERTPURGE_SANDBOX_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(helperVariable) != "" {
		os.Exit(waitToBeKilled())
	}
	os.Exit(m.Run())
}

// waitToBeKilled prints the addresses of its servers. It ends by itself, without Stop, when standard input
// does.
func waitToBeKilled() int {
	servers, err := sandbox.StartServers(context.Background(), sandbox.Options{NoSync: true})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(servers.MySQL.Addr, servers.MySQL.Socket, servers.Redis.Addr)
	_, _ = os.Stdin.Read(make([]byte, 1))
	return 0
}
