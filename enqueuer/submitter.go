package main

import (
	"github.com/spf13/pflag"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/purge"
)

// submitter is the flags that say on whose behalf an operator submits, and with which ticket.
type submitter struct {
	ticket, behalf string
}

func (s *submitter) add(flags *pflag.FlagSet) {
	s.addName(flags)
	flags.StringVar(&s.ticket, "ticket", "", "`TEXT` of your own, such as the number of a ticket, for the evidence: at "+
		"most 64 characters")
}

// addName adds only the flag that says on whose behalf.
func (s *submitter) addName(flags *pflag.FlagSet) {
	flags.StringVar(&s.behalf, "requested-by", "", "`NAME` of the person or system on whose behalf you ask, for the "+
		"evidence; no learner's")
}

// check rejects what the ledger cannot keep as it is.
func (s *submitter) check() error {
	if err := purge.CheckTicket(s.ticket); err != nil {
		return cli.Usage("--ticket: %w: %.100q", err, s.ticket)
	}
	if err := purge.CheckBehalf(s.behalf); err != nil {
		return cli.Usage("--requested-by: %w: %.100q", err, s.behalf)
	}
	return nil
}

// by is purge.Submission.By of a command.
func (s *submitter) by(command string) string {
	return purge.OnBehalf(command+", "+cli.Operator(), s.behalf)
}
