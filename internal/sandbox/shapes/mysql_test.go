package shapes_test

import (
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/sandbox"
	"github.com/certpurge/certpurge/internal/sandbox/demo"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// TestMySQL purges a small site on a MySQL server of each shape.
func TestMySQL(t *testing.T) {
	t.Parallel()
	authority := sandboxtest.NewAuthority(t)
	certificate, key := authority.Issue(t, "server", "127.0.0.1")
	for name, shape := range map[string]struct {
		arguments []string
		lms       string
		charset   lms.Charset
		settings  []string
		change    func(*world)
	}{
		"schema with a hyphen, utf8mb3": {lms: "open-edx", charset: lms.UTF8MB3},
		"lower_case_table_names=1, schema in capitals": {
			arguments: []string{"--lower-case-table-names=1"}, lms: "OpenEdX", charset: lms.UTF8MB4,
		},
		"latin1 by default, tables of several character sets": {
			arguments: []string{"--character-set-server=latin1", "--collation-server=latin1_swedish_ci"},
			lms:       demo.LMSDatabase, charset: lms.Mixed,
		},
		"require_secure_transport, a private authority": {
			arguments: []string{
				"--require-secure-transport=ON", "--ssl-ca=" + authority.File, "--ssl-cert=" + certificate, "--ssl-key=" + key,
			},
			lms: demo.LMSDatabase, charset: lms.Mixed,
			settings: []string{"CERTPURGE_MYSQL_TLS_CA_FILE=" + authority.File},
		},
		"rights through roles": {lms: demo.LMSDatabase, charset: lms.Mixed, change: (*world).grantThroughRoles},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, demo.Variant{
				Servers: sandbox.Options{NoSync: true, MySQLArguments: shape.arguments}, LMS: shape.lms, Charset: shape.charset,
			}, few)
			w.both = shape.settings
			w.migrate()
			if shape.change != nil {
				shape.change(w)
			}
			w.healthy()
			must(t, w.backfill().Wait(t.Context()))
			w.work("worker")
			w.finish()
			t.Logf("%s, %s", w.mysqlVersion(), name)
		})
	}
}

// mysqlVersion is the server's own word for itself.
func (w *world) mysqlVersion() (version string) {
	w.t.Helper()
	must(w.t, w.env.Root.QueryRowContext(w.t.Context(), "SELECT VERSION()").Scan(&version))
	return string(w.env.Servers.MySQL.Engine) + " " + version
}

// grantThroughRoles gives the rights of worker and enqueuer to a role each, which is all that the accounts have then.
func (w *world) grantThroughRoles() {
	w.t.Helper()
	for _, name := range []string{"worker", "enqueuer"} {
		account, role := "'certpurge_"+name+"'@'127.0.0.1'", "certpurge_"+name+"_role"
		var grants []string
		rows, err := w.env.Root.QueryContext(w.t.Context(), "SHOW GRANTS FOR "+account)
		must(w.t, err)
		for rows.Next() {
			var grant string
			must(w.t, rows.Scan(&grant))
			rights, _, _ := strings.Cut(grant, " TO ")
			if !strings.HasPrefix(rights, "GRANT USAGE ") {
				grants = append(grants, rights+" TO "+role)
			}
		}
		must(w.t, rows.Err())
		must(w.t, rows.Close())
		set := map[sandbox.Engine]string{sandbox.MariaDB: " FOR ", sandbox.OracleMySQL: " TO "}[w.env.Servers.MySQL.Engine]
		for _, statement := range append(append([]string{"CREATE ROLE " + role}, grants...),
			"REVOKE ALL PRIVILEGES, GRANT OPTION FROM "+account, "GRANT "+role+" TO "+account,
			"SET DEFAULT ROLE "+role+set+account) {
			_, err := w.env.Root.ExecContext(w.t.Context(), statement)
			must(w.t, err)
		}
	}
}
