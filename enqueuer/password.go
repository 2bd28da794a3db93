package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/login"
)

func newPasswordCommand(a *app) *cobra.Command {
	right := rightFlag{login.View}
	cmd := &cobra.Command{
		Use:   "password NAME",
		Short: "Make an entry of admin.users, with a hashed password",
		Long: `password prompts for a password, twice, or reads one line from standard input
if that is not a terminal. It prints an entry for admin.users, or for a line of
the file that admin.users_file names: a user of the admin pages. It changes
nothing and needs no configuration.

A password has at least 12 characters and at most 72 bytes.`,
		Example: "  enqueuer password alice\n  enqueuer password bob --right operate < password.txt >> admin-users",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !login.ValidName(args[0]) {
				return cli.Usage("the name has to be 1 to 64 of A-Z, a-z, 0-9, ., _, @ and -")
			}
			password, err := readPassword(cmd.InOrStdin(), a.streams.Err)
			if err != nil {
				return err
			}
			hash, err := login.Hash(password)
			if err != nil {
				return cli.Usage("%w", err)
			}
			a.printf("%s:%s:%s\n", args[0], right.Right, hash)
			return nil
		},
	}
	cmd.Flags().Var(&right, "right", "what the user may do: view, or operate, which includes changing queues and tasks")
	_ = cmd.RegisterFlagCompletionFunc("right", cobra.FixedCompletions([]string{"view", "operate"},
		cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// readPassword asks at a terminal, without showing what is typed, or reads a line.
func readPassword(in io.Reader, prompt io.Writer) (string, error) {
	file, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) { // a file descriptor fits an int
		line, err := bufio.NewReader(io.LimitReader(in, 1<<10)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("reading the password: %w", err)
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	var typed [2]string
	for i, question := range []string{"Password: ", "Again: "} {
		_, _ = fmt.Fprint(prompt, question)
		text, err := term.ReadPassword(int(file.Fd()))
		_, _ = fmt.Fprintln(prompt)
		if err != nil {
			return "", fmt.Errorf("reading the password: %w", err)
		}
		typed[i] = string(text)
	}
	if typed[0] != typed[1] {
		return "", cli.Usage("the two passwords differ")
	}
	return typed[0], nil
}

// rightFlag implements pflag.Value.
type rightFlag struct{ login.Right }

func (f *rightFlag) Set(s string) error {
	for _, r := range []login.Right{login.View, login.Operate} {
		if s == r.String() {
			f.Right = r
			return nil
		}
	}
	return errors.New("expected view or operate")
}

func (f *rightFlag) Type() string { return "RIGHT" }
