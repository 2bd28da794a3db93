package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/certificate"
	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/purge"
)

func newCertificateCommand(a *app) *cobra.Command {
	var from string
	var out *cli.Format
	cmd := &cobra.Command{
		Use:   "certificate [USER_ID]",
		Short: "Print the certificate of erasure of a user",
		Long: `certificate prints one document that stands alone: what was requested, by whom
and when; what was found and erased, each generation with its size and times;
how it is proven, with all listings and the settings of the buckets at that
time; what can still be recovered, and what is out of reach; and the hash at the
end of each request's evidence, with the anchors over it.

While anything is left, or may be, it is no certificate but a statement of that.
A request that is open or failed, a reference in the LMS, a file that a hold or
a retention protects or that soft delete can restore, missing files that no
operator has accepted, and evidence that was removed or is not as it was written
all count.

text is for reading, html for printing and filing: one page without scripts that
loads nothing. json is the document itself, in canonical form (RFC 8785); it is
signed if evidence.signing_key_file is set. Keep the JSON: enqueuer verify
checks it at any time, and --from makes the other forms of it again.

` + cli.Exits{
			cli.ExitOK: "a certificate", cli.ExitUsage: "bad input, or the LMS does not have the user",
			cli.ExitNotDone: "a statement of what is left", cli.ExitUnavailable: "", cli.ExitConfiguration: "",
			cli.ExitNotKnown: "no request was ever made for the user",
		}.String(),
		Example: "  enqueuer certificate 42\n" +
			"  enqueuer certificate 42 -o json > 42.json\n" +
			"  enqueuer certificate --from 42.json -o html > 42.html",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 1) == (from != "") {
				return cli.Usage("expected a USER_ID, or --from FILE")
			}
			var c *certificate.Certificate
			var err error
			if from != "" {
				if c, err = a.readCertificate(from); err == nil && c.Signature != nil {
					err = unfit(c.CheckSignature(nil))
				}
			} else {
				c, err = a.makeCertificate(cmd.Context(), args[0])
			}
			if err != nil {
				return err
			}
			if err := a.printCertificate(c, *out); err != nil {
				return err
			}
			if c.Kind != certificate.KindCertificate {
				return cli.Errorf(cli.ExitNotDone, "user %d: this is no certificate: %s", c.UserID, c.Reason())
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "print the certificate in this JSON `FILE` (- for standard input)")
	out = cli.FormatFlag(cmd, "text", "html", "json")
	return cmd
}

// makeCertificate reads the certificate of a user and signs it, if there is a key.
func (a *app) makeCertificate(ctx context.Context, id string) (*certificate.Certificate, error) {
	user, err := purge.ParseUserID(id)
	if err != nil {
		return nil, cli.Usage("%w", err)
	}
	cfg, store, err := a.openStore()
	if err != nil {
		return nil, err
	}
	defer store.Close()
	makeOne, err := certificate.Maker(store, cfg.Evidence.SigningKeyFile, originOf(cfg))
	if err != nil {
		return nil, cli.Errorf(cli.ExitConfiguration, "%w", err)
	}
	c, err := makeOne(ctx, user)
	if err != nil {
		return nil, cli.Unavailable(err)
	}
	if c == nil {
		return nil, errNothing(ctx, store, user, "no request")
	}
	return c, nil
}

// originOf is what a certificate says of where it was made.
func originOf(cfg config.Enqueuer) certificate.Origin {
	return certificate.Origin{Installation: cfg.Admin.Title, Software: cli.Version()}
}

// readCertificate reads the JSON form of a certificate.
func (a *app) readCertificate(name string) (*certificate.Certificate, error) {
	in := a.streams.In
	if name != "-" {
		file, err := os.Open(name) //nolint:gosec // the operator names the file
		if err != nil {
			return nil, cli.Usage("reading the certificate: %w", err)
		}
		defer func() { _ = file.Close() }() // only read from
		in = file
	}
	c, err := certificate.Parse(in)
	if err != nil {
		return nil, cli.Usage("%s: %w", name, err)
	}
	return c, nil
}

func (a *app) printCertificate(c *certificate.Certificate, format cli.Format) error {
	switch format {
	case "html":
		if err := c.WriteHTML(a.streams.Out); err != nil {
			return fmt.Errorf("writing the certificate: %w", err)
		}
		return nil
	case "json":
		return a.printCanonical(c)
	default:
		c.WriteText(a.printf)
		return nil
	}
}

// printCanonical prints the document byte for byte, because it may be signed, and its hash is that of the file. Only a
// terminal gets it escaped, and with a line end.
func (a *app) printCanonical(c *certificate.Certificate) error {
	text, err := c.Encode()
	if err != nil {
		return err //nolint:wrapcheck // it says what was written
	}
	out := a.streams.Out
	if cli.IsTerminal(out) {
		out, text = purge.EscapedJSON{W: out}, append(text, '\n')
	}
	if _, err := out.Write(text); err != nil {
		return errors.Join(errors.New("writing the certificate"), err)
	}
	return nil
}

// unfit is the error of a document that was changed after it was signed.
func unfit(err error) error {
	if err == nil {
		return nil
	}
	return cli.Usage("%w", err)
}
