package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/config"
)

// healthPatience is how long a process may take to say how it is: more than its own probes take.
const healthPatience = 4 * time.Second

// HealthcheckCommand asks the process that runs with the same configuration on this machine whether it is ready. It is
// for containers, whose image has nothing else to ask with.
func HealthcheckCommand(out io.Writer, load func() (config.Admin, error)) *cobra.Command {
	var url string
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask the process with the same configuration whether it is ready",
		Long: `healthcheck requests /readyz on admin.probes_listen, or else on admin.listen, of
the configuration, and prints the answer. Run it with the file and the
environment of the process, as in a container. Docker and Compose need it;
Kubernetes requests /readyz itself.

` + Exits{ExitFailure: "not ready, or no answer within four seconds", ExitConfiguration: ""}.String(),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if url == "" {
				cfg, err := load()
				if err != nil {
					return err
				}
				if url, err = readyURL(cfg); err != nil {
					return err
				}
			}
			return ask(cmd.Context(), out, url)
		},
	}
	cmd.Flags().StringVar(&url, "url", "", "request `URL` instead, and expect the status 200")
	return cmd
}

// readyURL is where a process with this configuration answers on this machine.
func readyURL(cfg config.Admin) (string, error) {
	listen := cfg.ProbesListen
	if listen == "" {
		listen = cfg.Listen
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil || port == "0" {
		return "", &config.Error{Problems: []string{"healthcheck: admin.probes_listen or admin.listen must be an address " +
			"with a port"}}
	}
	if addr, err := netip.ParseAddr(host); host == "" || err == nil && addr.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port) + "/readyz", nil
}

// ask succeeds if the answer is 200.
func ask(ctx context.Context, out io.Writer, url string) error {
	ctx, cancel := context.WithTimeout(ctx, healthPatience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return Usage("--url: %w", err)
	}
	client := &http.Client{} // the context bounds it
	answer, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("asking whether it is ready: %w", err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 4<<10))
	if err != nil {
		return fmt.Errorf("reading the answer of %s: %w", url, err)
	}
	if _, err := fmt.Fprintln(out, EscapeLines(strings.TrimSpace(string(body)))); err != nil {
		return fmt.Errorf("printing the answer of %s: %w", url, err)
	}
	if answer.StatusCode != http.StatusOK {
		return errors.New("not ready: " + url + " answered " + answer.Status)
	}
	return nil
}
