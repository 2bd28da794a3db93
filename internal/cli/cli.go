// Package cli is what the commands of both binaries share: exit codes, the page that every main is, and the commands
// config, version and healthcheck. It is the only package that ends the process or reads the environment.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
)

// Exit codes of both binaries.
const (
	ExitOK            = 0
	ExitFailure       = 1   // something unexpected, or the output could not be written in full
	ExitUsage         = 2   // bad input: nothing was done
	ExitNotDone       = 3   // at least one request was refused, failed, waits for a date, or is done with files missing
	ExitUnavailable   = 4   // Redis or MySQL cannot be reached; repeating the command is safe
	ExitConfiguration = 5   // the configuration, a right, a bucket or the ledger's version is wrong
	ExitTimeout       = 6   // --wait was over before the requests had ended
	ExitCapped        = 7   // a cap was reached, and there is more to do; repeating the command continues
	ExitNotKnown      = 8   // the ledger holds no such request: it was never made
	ExitNothing       = 9   // the request is known, but there is nothing of it to show or to do
	ExitInterrupted   = 130 // SIGINT or SIGTERM; repeating the command is safe
)

// Error is an error with an exit code.
type Error struct {
	Code int
	Err  error
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the error without its code.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an error with an exit code, of a format as fmt.Errorf has it.
func Errorf(code int, format string, args ...any) error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// Usage makes an error of bad input.
func Usage(format string, args ...any) error { return Errorf(ExitUsage, format, args...) }

// Unavailable marks an error of a server that cannot be reached. Errors that have an exit code of their own keep it,
// and trouble with a local file is never trouble with a server.
func Unavailable(err error) error {
	if err == nil || ExitCode(err) != ExitFailure {
		return err
	}
	_, file := errors.AsType[*fs.PathError](err)
	_, rename := errors.AsType[*os.LinkError](err)
	if _, output := errors.AsType[*outputError](err); output || file || rename {
		return err
	}
	return &Error{Code: ExitUnavailable, Err: err}
}

// ExitCode finds the exit code of an error.
func ExitCode(err error) int {
	if err == nil {
		return ExitOK
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	if _, ok := errors.AsType[*config.Error](err); ok || purge.ClassOf(err) == purge.Misconfigured {
		return ExitConfiguration
	}
	if errors.Is(err, context.Canceled) {
		return ExitInterrupted
	}
	return ExitFailure
}

// Streams are what a command reads and writes, and the environment.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	Environ  []string
}

// Main runs a binary's root command until it ends or a signal comes, and exits.
func Main(build func(Streams) *cobra.Command) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := Execute(ctx, build, Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Environ: os.Environ()}, os.Args[1:])
	stop() // before os.Exit, which skips defers
	os.Exit(code)
}

// Execute builds a root command, runs it and returns the exit code, which is ExitFailure if any part of the output was
// lost, even if the command succeeded: its reader does not have it. No command checks each of its writes.
func Execute(ctx context.Context, build func(Streams) *cobra.Command, s Streams, args []string) int {
	out := &output{w: s.Out}
	s.Out = out
	root := build(s)
	root.SetIn(s.In)
	root.SetOut(out) // help and completions
	root.SetErr(s.Err)
	code := Run(ctx, root, args, s.Err)
	if err := out.close(); err != nil {
		_, _ = fmt.Fprintf(s.Err, "%s: %v\n", root.Name(), err)
		return ExitFailure
	}
	return code
}

// Run executes the root command, prints its error as one sentence, and returns the exit code.
func Run(ctx context.Context, root *cobra.Command, args []string, stderr io.Writer) int {
	started := false
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { // cobra itself checks flags after it
		err := errors.Join(cmd.ValidateRequiredFlags(), cmd.ValidateFlagGroups())
		started = err == nil
		return err
	}
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return ExitOK
	}
	if _, ok := errors.AsType[*outputError](err); ok { // Execute reports it, once
		return ExitFailure
	}
	if !started { // cobra itself did not understand the command line
		err = Usage("%w (see %s --help)", err, cmd.CommandPath())
	}
	code := ExitCode(err)
	if code == ExitInterrupted {
		err = errors.New("interrupted; what was accepted continues, and the command may be repeated")
	}
	_, _ = fmt.Fprintf(stderr, "%s: %s\n", root.Name(), EscapeLines(err.Error()))
	return code
}

// output remembers the first write that failed. Nothing is written behind it, so that what there is has no gap.
type output struct {
	w    io.Writer
	lost *outputError
}

// outputError is output that could not be written.
type outputError struct{ err error }

func (e *outputError) Error() string { return fmt.Sprintf("the output is not complete: %v", e.err) }

func (e *outputError) Unwrap() error { return e.err }

// Write implements io.Writer.
func (o *output) Write(data []byte) (int, error) {
	if o.lost != nil {
		return 0, o.lost
	}
	n, err := o.w.Write(data)
	if err == nil {
		return n, nil
	}
	o.lost = &outputError{err}
	return n, o.lost
}

// Unwrap returns what is written to, for those who ask whether it is a terminal.
func (o *output) Unwrap() io.Writer { return o.w }

// close reports whether something was lost. Some file systems say only at the end that a file has no room.
func (o *output) close() error {
	if file, ok := o.w.(*os.File); ok && o.lost == nil {
		if err := file.Close(); err != nil {
			o.lost = &outputError{err}
		}
	}
	if o.lost == nil {
		return nil
	}
	return o.lost
}

// VersionCommand prints the version that the build recorded.
func VersionCommand(out io.Writer) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(out, Version())
			return err
		},
	}
}

// Version is the module's version, the revision and the Go version, as far as the build recorded them.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = " " + s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			revision += "+dirty"
		}
	}
	return "certpurge " + info.Main.Version + revision + " " + info.GoVersion
}

// configCommand prints and checks a configuration.
func configCommand(out io.Writer, load func() (any, error)) *cobra.Command {
	parent := &cobra.Command{
		Use: "config", Short: "Print or check the configuration",
		Long: "The configuration comes from defaults, then the file, then environment\n" +
			"variables; the later one counts.\n\n" + Exits{ExitConfiguration: ""}.String(),
	}
	parent.AddCommand(
		&cobra.Command{
			Use: "print", Short: "Print the effective configuration as YAML, without secrets", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				cfg, err := load()
				if err != nil {
					return err
				}
				return config.Print(out, cfg)
			},
		},
		&cobra.Command{
			Use: "validate", Short: "Check the configuration; every broken rule is reported", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				if _, err := load(); err != nil {
					return err
				}
				_, err := fmt.Fprintln(out, "the configuration is valid")
				return err
			},
		},
	)
	return parent
}

// configFlag adds the flag that names the configuration file.
func configFlag(root *cobra.Command, environ []string, path *string) {
	const variable = "CERTPURGE_CONFIG="
	fallback := ""
	for _, e := range environ {
		if len(e) > len(variable) && e[:len(variable)] == variable {
			fallback = e[len(variable):]
		}
	}
	root.PersistentFlags().StringVarP(path, "config", "c", fallback,
		"configuration `FILE` (YAML), or $CERTPURGE_CONFIG; environment variables override it")
}

// OpenStore opens the databases that a configuration names, without connecting.
func OpenStore(server config.MySQL, lms config.LMS) (*mysql.Store, error) {
	store, err := mysql.Open(mysql.Config{MySQL: server, LMS: lms})
	if err != nil {
		return nil, &Error{Code: ExitConfiguration, Err: err}
	}
	return store, nil
}

// NewRedis makes a client of the Redis that a configuration names, without connecting.
func NewRedis(server config.Redis) (redis.UniversalClient, error) {
	client, err := queue.NewRedis(server)
	if err != nil {
		return nil, &Error{Code: ExitConfiguration, Err: err}
	}
	return client, nil
}
