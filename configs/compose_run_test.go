package configs_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql" // opens the DSN of the administrator

	"github.com/certpurge/certpurge/internal/sandbox"
	"github.com/certpurge/certpurge/internal/sandbox/driver"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// native runs the stack's services without containers: the same commands, environments, settings and secrets, with the
// names of hosts, the ports and the places of files replaced.
type native struct {
	*stack

	t        *testing.T
	dir      string
	servers  *sandbox.Servers
	storage  string            // address of the emulator
	binaries map[string]string // by name
	files    map[string]string // what commands of pages have written, by the names of the pages
}

// container is one service's process.
type container struct {
	service service
	name    string
	ports   map[string]string // address for each port of the container, such as ":8081"
	log     string
}

func startNative(t *testing.T) *native {
	t.Helper()
	s := readStack(t)
	enqueuer, worker := sandboxtest.Binaries(t)
	accounts, err := filepath.Abs(s.path(s.Secrets["redis_users"].File))
	if err != nil {
		t.Fatal(err)
	}
	n := &native{
		stack: &s, t: t, dir: t.TempDir(), files: map[string]string{}, storage: freeAddress(t),
		servers:  sandboxtest.OwnServersWith(t, sandbox.Options{RedisArguments: []string{"--aclfile", accounts}}),
		binaries: map[string]string{"enqueuer": enqueuer, "worker": worker, "demo": sandboxtest.DemoBinary(t)},
	}
	// The account that the image of MySQL makes.
	root, err := sql.Open("mysql", n.servers.MySQL.SocketDSN("root", "", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	password, err := os.ReadFile(s.path(s.Secrets["mysql_root_password"].File))
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		"CREATE USER root@'127.0.0.1' IDENTIFIED BY '" + string(password) + "'",
		"GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION",
	} {
		if _, err := root.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	for name, secret := range s.Secrets {
		n.copy(secret.File, "secrets", name)
	}
	return n
}

// copy puts a file where the containers would see it, with the names of hosts replaced.
func (n *native) copy(file, directory, name string) {
	n.t.Helper()
	text, err := os.ReadFile(n.path(file))
	if err != nil {
		n.t.Fatal(err)
	}
	target := filepath.Join(n.dir, directory, name)
	if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
		n.t.Fatal(err)
	}
	if err := os.WriteFile(target, []byte(n.here(string(text), nil)), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// here replaces what is otherwise outside of the containers.
func (n *native) here(text string, ports map[string]string) string {
	pairs := []string{
		"mysql:3306", n.servers.MySQL.Addr, "redis:6379", n.servers.Redis.Addr, "site:9023", n.storage, "127.0.0.1:9023",
		n.storage,
		"/run/secrets/", filepath.Join(n.dir, "secrets") + "/", "/etc/certpurge/", filepath.Join(n.dir, "settings") + "/",
	}
	text = strings.NewReplacer(pairs...).Replace(text)
	if text == "1000" { // users
		return "100"
	}
	if address, ok := ports[text]; ok { // a port of its own, such as ":8081"
		return address
	}
	return text
}

// container prepares one container of a service.
func (n *native) container(name string) *container {
	n.t.Helper()
	c := &container{service: n.Services[name], name: name, log: filepath.Join(n.t.TempDir(), name+".log")}
	c.ports = map[string]string{
		":8080": freeAddress(n.t), ":8081": freeAddress(n.t), ":8082": freeAddress(n.t),
		":8083": freeAddress(n.t), ":9023": n.storage,
	}
	for _, config := range c.service.Configs {
		n.copy(n.Configs[config.Source].File, "settings", filepath.Base(config.Target))
	}
	return c
}

// command is a command in the container.
func (n *native) command(ctx context.Context, c *container, command ...string) *exec.Cmd {
	arguments := make([]string, len(command)-1)
	for i, argument := range command[1:] {
		arguments[i] = n.here(argument, c.ports)
	}
	cmd := exec.CommandContext(ctx, n.binaries[command[0]], arguments...) //nolint:gosec // our own binaries
	cmd.Dir = n.dir
	for key, value := range c.service.Environment {
		cmd.Env = append(cmd.Env, key+"="+n.here(value, c.ports))
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	return cmd
}

// start runs the service until the test ends, and waits until its health check holds.
func (n *native) start(name string) *container {
	n.t.Helper()
	c := n.container(name)
	log, err := os.Create(c.log)
	if err != nil {
		n.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(n.t.Context())) // that of a test ends before its clean-up
	cmd := n.command(ctx, c, c.service.Command...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		cancel()
		if err := cmd.Wait(); err != nil && !errors.Is(err, context.Canceled) {
			n.t.Errorf("%s: %v\n%s", name, err, c.tail())
		}
		_ = log.Close()
	})
	defer func() {
		if n.t.Failed() {
			n.t.Logf("the log of %s:\n%s", name, c.tail())
		}
	}()
	sandboxtest.Eventually(n.t, name+" is healthy", func() bool {
		return n.command(n.t.Context(), c, c.service.Healthcheck.Test[1:]...).Run() == nil
	})
	return c
}

func (c *container) tail() []byte {
	text, _ := os.ReadFile(c.log) // for a message only
	return text[max(0, len(text)-2000):]
}

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := sandbox.FreeAddress(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// TestStackWorksTogether starts every service of ours as docker-compose.yml says, in its order, and runs the commands
// of its first lines and of the quickstart.
func TestStackWorksTogether(t *testing.T) {
	t.Parallel()
	n := startNative(t)
	n.start("site")
	migrate := n.container("migrate")
	if output, err := n.command(t.Context(), migrate, migrate.service.Command...).CombinedOutput(); err != nil {
		t.Fatalf("migrate: %v\n%s", err, output)
	}
	workers := []*container{n.start("worker"), n.start("worker")}
	enqueuer := n.start("enqueuer")

	for _, line := range regexp.MustCompile(
		`(?m)^docker compose exec worker (worker .+?)(?: +#.*)?$`).FindAllStringSubmatch(
		n.page("../docs/quickstart.md"), -1) {
		n.run(workers[0], line[1])
	}
	// The commands of the file's first lines, then those of the quickstart.
	for _, page := range []struct{ name, command string }{
		{"../docker-compose.yml", `(?m)^#   docker compose exec enqueuer (enqueuer .+?)(?: +#.*)?$`},
		{"../docs/quickstart.md", `(?m)^\$ bin/(enqueuer .+?)(?: +[#|].*)?$`},
		{"../docs/install.md", `(?m)^\$ bin/(enqueuer .+?)(?: +[#|].*)?$`},
		{"../docs/operations/README.md", `(?m)^\$ (enqueuer .+?)(?: +[#|].*)?$`},
	} {
		lines := regexp.MustCompile(page.command).FindAllStringSubmatch(n.page(page.name), -1)
		if len(lines) < 4 {
			t.Errorf("got %d commands in %s", len(lines), page.name)
		}
		for _, line := range lines {
			if !strings.HasPrefix(line[1], "enqueuer password") { // which is slow on purpose, and has tests of its own
				n.run(enqueuer, line[1])
			}
		}
	}
	n.checkPurged(enqueuer)
	n.checkDriver(enqueuer)
	for _, c := range append(workers, enqueuer) {
		n.checkPages(c)
	}
}

func (n *native) page(file string) string {
	n.t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		n.t.Fatal(err)
	}
	return string(text)
}

// run runs a command of a page in a container. The site has users whose files are held, so some of them end with exit
// code 3, and links that no location takes, about which worker locations ends with 5. What a command writes into a file,
// a later one may read.
func (n *native) run(c *container, line string) {
	n.t.Helper()
	// the container's variable names the file; nothing is signed here
	line = strings.NewReplacer("--config enqueuer.yaml ", "", " 42", " 1001", " --key key.pub.pem", "").Replace(line)
	words, into, _ := strings.Cut(line, " > ")
	args := strings.Fields(words)
	for i, arg := range args {
		if file, ok := n.files[arg]; ok {
			args[i] = file
		}
	}
	cmd := n.command(n.t.Context(), c, args...)
	read := cmd.CombinedOutput
	if into != "" {
		read = cmd.Output
	}
	output, err := read()
	if into != "" {
		n.files[into] = filepath.Join(n.t.TempDir(), "written")
		if err := os.WriteFile(n.files[into], output, 0o600); err != nil {
			n.t.Fatal(err)
		}
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && (exit.ExitCode() == 3 || exit.ExitCode() == 5 &&
		strings.HasPrefix(line, "worker locations")) {
		err = nil
	}
	if err != nil {
		n.t.Errorf("%s: %v\n%s", line, err, output)
	}
}

// checkPurged reads the outcome from the ledger, and asks the emulator.
func (n *native) checkPurged(enqueuer *container) {
	n.t.Helper()
	output, err := n.command(n.t.Context(), enqueuer, "enqueuer", "status", "-o", "json").Output()
	if err != nil {
		n.t.Fatal(err)
	}
	var status struct {
		Workers  int
		Requests []struct {
			State, Reason string
			Count         int
		}
	}
	if err := json.Unmarshal(output, &status); err != nil {
		n.t.Fatalf("%v\n%s", err, output)
	}
	done := 0
	for _, end := range status.Requests {
		switch {
		case end.State == "done":
			done += end.Count
		case end.State == "failed" && end.Reason == "gave_up", end.State == "running", end.State == "queued" &&
			end.Reason != "retained":
			n.t.Errorf("%d requests are %s: %s", end.Count, end.State, end.Reason)
		}
	}
	if done < 100 || status.Workers != 2 {
		n.t.Errorf("got %d requests done by %d workers, want 100 or more by 2\n%s", done, status.Workers, output)
	}
}

// checkDriver calls as the retirement driver does, with a token that is signed with the secret and for the settings of
// the stack.
func (n *native) checkDriver(enqueuer *container) {
	n.t.Helper()
	secret, err := os.ReadFile(n.path(n.Secrets["jwt_secret"].File))
	if err != nil {
		n.t.Fatal(err)
	}
	token, err := driver.LMS{
		Secret: secret, Issuer: "http://lms.example/oauth2",
		Audience: "openedx",
	}.Token("retirement_service_worker", time.Now())
	if err != nil {
		n.t.Fatal(err)
	}
	status, body := n.ask(http.MethodPost, "http://"+enqueuer.ports[":8080"]+"/api/v1/retire_user/",
		`{"lms_user_id": 1001}`, http.Header{
			"Authorization": {"JWT " + token}, "Content-Type": {"application/json"},
		})
	if status != http.StatusNoContent {
		n.t.Errorf("the driver gets %d: %s", status, body)
	}
}

// checkPages asks for the overview as the user of the first lines, and for the metrics as Prometheus does.
func (n *native) checkPages(c *container) {
	n.t.Helper()
	pages := c.ports[":8081"]
	if c.name == "enqueuer" {
		pages = c.ports[":8082"]
	}
	request := http.Request{Header: http.Header{}}
	request.SetBasicAuth("demo", "certpurge-demo")
	if status, _ := n.ask(http.MethodGet, "http://"+pages+"/", "", request.Header); status != http.StatusOK {
		n.t.Errorf("%s: the overview is %d", c.name, status)
	}
	if status, _ := n.ask(http.MethodGet, "http://"+pages+"/", "", nil); status != http.StatusUnauthorized {
		n.t.Errorf("%s: without a login, the overview is %d", c.name, status)
	}
	if status, body := n.ask(http.MethodGet, "http://"+c.ports[":8083"]+"/metrics", "", nil); status != http.StatusOK ||
		!strings.Contains(body, "certpurge_ready 1") {
		n.t.Errorf("%s: the metrics are %d", c.name, status)
	}
}

func (n *native) ask(method, url, body string, header http.Header) (status int, answer string) {
	n.t.Helper()
	request, err := http.NewRequestWithContext(n.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	if header != nil {
		request.Header = header
	}
	client := http.Client{Timeout: time.Minute}
	got, err := client.Do(request)
	if err != nil {
		n.t.Fatal(err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return got.StatusCode, string(bytes.TrimSpace(text))
}

// TestSiteLeavesARealSiteAlone: a server with an LMS or a ledger is refused, even an empty one.
func TestSiteLeavesARealSiteAlone(t *testing.T) {
	t.Parallel()
	n := startNative(t)
	root, err := sql.Open("mysql", n.servers.MySQL.SocketDSN("root", "", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, database := range []string{"openedx", "certpurge"} {
		if _, err := root.ExecContext(t.Context(), "CREATE DATABASE "+database); err != nil {
			t.Fatal(err)
		}
		c := n.container("site")
		output, err := n.command(t.Context(), c, c.service.Command...).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(output), "on this server already") {
			t.Errorf("%s: got %v: %s", database, err, output)
		}
		var made int
		const count = "SELECT (SELECT COUNT(*) FROM information_schema.tables WHERE table_schema IN ('openedx', " +
			"'certpurge'))" +
			" + (SELECT COUNT(*) FROM mysql.user WHERE user LIKE 'certpurge%')"
		if err := root.QueryRowContext(t.Context(), count).Scan(&made); err != nil || made > 0 {
			t.Errorf("%s: got %d tables and accounts, %v", database, made, err)
		}
		if _, err := root.ExecContext(t.Context(), "DROP DATABASE "+database); err != nil {
			t.Fatal(err)
		}
	}
}
