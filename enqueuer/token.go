package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
)

// tokenEntry is an entry of the list of tokens, as JSON.
type tokenEntry struct {
	Name   string   `json:"name"`
	SHA256 string   `json:"sha256"`
	Rights []string `json:"rights"`
	Rate   int      `json:"rate"`
	Burst  int      `json:"burst"`
}

func newTokenCommand(a *app) *cobra.Command {
	var out *cli.Format
	entry := config.DefaultToken()
	cmd := &cobra.Command{
		Use:   "token NAME --rights RIGHT,…",
		Short: "Make a token for a caller of enqueuer serve",
		Long: `token makes a token of 32 random bytes and its entry for the list "tokens" of
the enqueuer's configuration. The entry holds only the token's hash: give the
token to the caller now, because it is stored nowhere. The command connects to
no server and changes nothing; the caller is admitted once the entry is in the
file and the server has been restarted.

The rights are enqueue (request purges), read (requests and evidence) and
requeue (run ended requests again).`,
		Example: "  enqueuer token portal --rights enqueue,read\n  enqueuer token portal --rights read -o json",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(entry.Rights) == 0 {
				return cli.Usage("--rights is missing: expected some of enqueue, read and requeue (see enqueuer token --help)")
			}
			random := make([]byte, 32)
			_, _ = rand.Read(random) // never fails (crypto/rand)
			token := base64.RawURLEncoding.EncodeToString(random)
			hash := sha256.Sum256([]byte(token))
			entry.Name, entry.SHA256 = args[0], hex.EncodeToString(hash[:])
			if err := entry.Check(); err != nil {
				if invalid, ok := errors.AsType[*config.Error](err); ok {
					return cli.Usage("%s", strings.Join(invalid.Problems, "; "))
				}
				return err
			}
			if *out == "json" {
				return a.printJSON(map[string]any{"token": token, "entry": tokenEntry(entry)})
			}
			a.printf(`# The token, for the caller. It is not shown again.
%s

# Its entry in enqueuer.yaml, in place of "tokens: []" or below the tokens that are there.
tokens:
  - name: %q
    sha256: %s
    rights: [%s]
    rate: %d
    burst: %d
`, token, entry.Name, entry.SHA256, strings.Join(entry.Rights, ", "), entry.Rate, entry.Burst)
			return nil
		},
	}
	cmd.Flags().StringSliceVar(&entry.Rights, "rights", nil, "what the caller may do: some of enqueue, read and requeue")
	cmd.Flags().IntVar(&entry.Rate, "rate", entry.Rate, "`REQUESTS` a second in the long run")
	cmd.Flags().IntVar(&entry.Burst, "burst", entry.Burst, "`REQUESTS` in a burst after a pause")
	_ = cmd.RegisterFlagCompletionFunc("rights", cobra.FixedCompletions([]string{"enqueue", "read", "requeue"},
		cobra.ShellCompDirectiveNoFileComp))
	out = cli.FormatFlag(cmd)
	return cmd
}
