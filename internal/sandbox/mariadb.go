package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// bootstrap makes the system tables by feeding the server's own scripts to mariadbd --bootstrap. mariadb-install-db
// does the same, but needs my_print_defaults from yet another package, and spends most of its time on help texts.
func (m *MySQL) bootstrap(ctx context.Context) error {
	if err := os.Mkdir(m.dataDirectory(), 0o700); err != nil {
		return err
	}
	var script bytes.Buffer
	// In this mode a statement ends with a semicolon at the end of a line.
	script.WriteString("CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket = NULL;\n")
	for _, name := range []string{"system_tables", "performance_tables", "system_tables_data"} {
		text, err := m.program.script(name)
		if err != nil {
			return err
		}
		script.Write(text)
	}
	// The scripts admit root without a password from the loopback addresses too, which any user of the machine can use.
	script.WriteString("\nDELETE FROM global_priv WHERE Host <> 'localhost';\n")
	script.WriteString("DELETE FROM proxies_priv WHERE Host <> 'localhost';\n")

	path := filepath.Join(m.dir, "bootstrap.sql")
	if err := os.WriteFile(path, script.Bytes(), 0o600); err != nil {
		return err
	}
	input, err := os.Open(path) //nolint:gosec // written above
	if err != nil {
		return err
	}
	defer input.Close()
	cmd := m.program.command(append(m.commonArguments(), "--bootstrap", "--max-allowed-packet=8M")...)
	cmd.Stdin = input
	return m.run(ctx, cmd)
}

// mariadbdCommonArguments are those that only MariaDB knows.
func (m *MySQL) mariadbdCommonArguments() []string {
	args := []string{"--innodb-log-file-size=16M"}
	if messages := m.program.messages(); messages != "" {
		args = append(args, "--lc-messages-dir="+messages)
	}
	if m.opts.NoSync {
		args = append(args, "--debug-no-sync")
	}
	return args
}

// scriptPrefixes: up to MariaDB 10 the scripts are named after MySQL.
var scriptPrefixes = []string{"mariadb_", "mysql_"}

// script reads one of the SQL scripts that come with the server.
func (p program) script(name string) ([]byte, error) {
	var tried error
	for _, dir := range p.shared() {
		for _, prefix := range scriptPrefixes {
			text, err := os.ReadFile(filepath.Join(dir, prefix+name+".sql")) //nolint:gosec // belongs to the server
			if err == nil {
				return text, nil
			}
			tried = errors.Join(tried, err)
		}
	}
	return nil, fmt.Errorf("reading the script %s of %s: %w", name, p.path, tried)
}
