package sandbox

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// mysqldCommonArguments are those that only Oracle's MySQL knows.
func (m *MySQL) mysqldCommonArguments() []string {
	args := []string{
		"--secure-file-priv=NULL", // its default is a directory that must exist
	}
	if m.program.base != "" {
		args = append(args, "--basedir="+m.program.base)
	}
	if m.opts.NoSync {
		args = append(args, "--innodb-flush-method=nosync", "--innodb-doublewrite=OFF")
	}
	return args
}

// mysqldArguments are those of the running server.
func (m *MySQL) mysqldArguments() []string {
	return []string{
		"--mysqlx=OFF", // a second port
		"--innodb-buffer-pool-size=64M",
		"--loose-innodb-redo-log-capacity=64M",
		"--performance-schema=OFF", // half of the memory, and a third of the time of a start
	}
}

// initialize fills the data directory. That takes seconds, so the result is kept in the cache directory and copied from
// then on. It is made in the private directory and not where it is kept: profiles of AppArmor let a server write below
// /tmp but not there.
func (m *MySQL) initialize(ctx context.Context) error {
	prepared := filepath.Join(m.cache, "mysql-data-"+filepath.Base(m.program.version))
	forGood := m.optionsForGood()
	keeps := m.cache != "" && len(forGood) == 0
	if keeps {
		if _, err := os.Stat(prepared); err == nil {
			return os.CopyFS(m.dataDirectory(), os.DirFS(prepared))
		}
	}
	if err := os.Mkdir(m.dataDirectory(), 0o700); err != nil {
		return err
	}
	args := append(m.commonArguments(), "--initialize-insecure", "--skip-log-bin", "--loose-innodb-redo-log-capacity=16M")
	cmd := m.program.command(append(args, forGood...)...)
	if err := m.run(ctx, cmd); err != nil || !keeps {
		return err
	}
	return m.keep(prepared)
}

// optionsForGood are those of the server that a data directory has from its beginning.
func (m *MySQL) optionsForGood() (all []string) {
	for _, argument := range m.opts.MySQLArguments {
		if strings.HasPrefix(argument, "--lower-case-table-names=") {
			all = append(all, argument)
		}
	}
	return all
}

// keep copies the data directory to prepared, unless another process has just done so.
func (m *MySQL) keep(prepared string) error {
	if err := os.MkdirAll(m.cache, 0o700); err != nil {
		return err
	}
	staging, err := os.MkdirTemp(m.cache, "initialized-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(staging)
	if err := os.CopyFS(staging, os.DirFS(m.dataDirectory())); err != nil {
		return err
	}
	if err := os.Rename(staging, prepared); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}
