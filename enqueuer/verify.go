package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/evidence"
	"github.com/certpurge/certpurge/internal/mysql"
)

func newVerifyCommand(a *app) *cobra.Command {
	var anchor string
	var file fileCheck
	var out *cli.Format
	cmd := &cobra.Command{
		Use:   "verify [FILE]",
		Short: "Check that the evidence, or a certificate, is as it was written",
		Long: `verify reads all documents of evidence and compares each with its hash, with the
document before it of the same request, and with the anchors that workers made
over all documents. It names every document that was changed, removed, added
later, or moved to another place, and every anchor that was changed or removed.

Who may write the tables as an administrator can also write new hashes and
remove the newest anchors. Workers therefore log every anchor: compare with
--anchor and a hash from a log that is kept elsewhere. verify then also says
whether the tables are older than that anchor, such as after a restore. Changes
of documents that are in no anchor yet are found only where they break the
chain of their request.

It reads while workers continue, and changes nothing.

With a FILE (- for standard input), verify checks one certificate of erasure as
enqueuer certificate -o json writes it: that it has the format, byte for byte;
that its signature fits, with --key that this is of a key you trust; and that
the ledger says the same. What has been added to the ledger since then is no
difference. With --offline, or without a configuration, it needs no server.

` + cli.Exits{
			cli.ExitOK:      "all evidence, or the certificate, is as it was written",
			cli.ExitUsage:   "bad input, or FILE is no certificate",
			cli.ExitNotDone: "some of it is not; each trouble is named", cli.ExitUnavailable: "", cli.ExitConfiguration: "",
		}.String(),
		Example: "  enqueuer verify\n  enqueuer verify -o json\n" +
			"  enqueuer verify --anchor \\\n    9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n" +
			"  enqueuer verify 42.json --key certificates.pub.pem",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if file.name = args[0]; anchor != "" {
					return cli.Usage("--anchor is about the whole ledger: expected no FILE with it")
				}
				return a.verifyFile(cmd.Context(), file, *out)
			}
			if file.key != "" || file.offline {
				return cli.Usage("--key and --offline are about a certificate: expected a FILE")
			}
			hash, err := parseAnchor(anchor)
			if err != nil {
				return err
			}
			_, store, err := a.openStore()
			if err != nil {
				return err
			}
			defer store.Close()
			return a.verify(cmd, store, hash, *out)
		},
	}
	cmd.Flags().StringVar(&anchor, "anchor", "", "`HASH` of an anchor that must be there, in hex, as a worker logged it")
	cmd.Flags().StringVar(&file.key, "key", "", "`FILE` with the public key (PEM) that must have signed the certificate")
	cmd.Flags().BoolVar(&file.offline, "offline", false, "do not compare the certificate with the ledger")
	out = cli.FormatFlag(cmd)
	return cmd
}

// since says how old the oldest of something is.
func since(t *time.Time) string {
	if t == nil {
		return ""
	}
	return ", the oldest of " + t.UTC().Format(time.RFC3339)
}

// parseAnchor reads the hash of an anchor; nil if there is none.
func parseAnchor(text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	hash, err := hex.DecodeString(text)
	if err != nil || len(hash) != sha256.Size {
		return nil, cli.Usage("--anchor: %.80q is no hash of an anchor: expected %d hexadecimal digits", text, 2*sha256.Size)
	}
	return hash, nil
}

// shownTroubles is how many troubles the JSON lists; the text names all.
const shownTroubles = 10_000

// verified is what verify -o json prints.
type verified struct {
	mysql.Verified

	Troubles []evidence.Trouble `json:"troubles"` // the first 10,000
	Count    int                `json:"trouble_count"`
}

// troubleText names a document by its number in the ledger, too, as the report does.
func troubleText(t evidence.Trouble) string {
	if t.Request != 0 && t.Document != 0 {
		return fmt.Sprintf("%s (number %d in the ledger)", t.Text, t.Document)
	}
	return t.Text
}

func (a *app) verify(cmd *cobra.Command, store *mysql.Store, anchor []byte, format cli.Format) error {
	all := verified{Troubles: []evidence.Trouble{}}
	var err error
	all.Verified, err = store.Verify(cmd.Context(), anchor, func(t evidence.Trouble) error {
		if all.Count++; format != "json" {
			a.printf("%s\n", troubleText(t))
		} else if len(all.Troubles) < shownTroubles {
			all.Troubles = append(all.Troubles, t)
		}
		return nil
	})
	if err != nil {
		return cli.Unavailable(err)
	}
	if format == "json" {
		err = a.printJSON(all)
	} else {
		for _, p := range all.Prunings {
			a.printf("evidence from before %s was removed on %s by %s\n", p.Before.UTC().Format(time.RFC3339),
				p.At.UTC().Format(time.RFC3339), p.By)
		}
		a.printf("%s, %s, %s; not anchored yet: %s\n", english.Plural(all.Requests, "request", ""),
			english.Plural(all.Documents, "document", ""), english.Plural(all.Anchors, "anchor", ""),
			english.Plural(all.Unanchored, "document", "")+since(all.UnanchoredSince))
	}
	if err == nil && all.Count > 0 {
		err = cli.Errorf(cli.ExitNotDone, "the evidence is not as it was written: %s",
			english.Plural(all.Count, "trouble", ""))
	}
	return err
}
