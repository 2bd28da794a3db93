package chaos

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox"
	"github.com/certpurge/certpurge/internal/sandbox/demo"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
)

func mysqlFaults() []fault {
	return []fault{
		{name: "mysql-kill", inject: killConnections},
		{name: "mysql-restart", group: "mysql", inject: restartMySQL},
		{name: "mysql-deadlock", inject: provokeDeadlocks},
	}
}

// scratch is a database of ours on the same server. No account but root knows it.
const scratch = "chaos"

// weigh makes a session the heavier one of two that wait for each other.
var weigh = fmt.Sprintf("INSERT INTO %s.weight (filler) VALUES (1)%s", scratch, strings.Repeat(",(1)", 2000))

// prepareScratch makes a table whose rows give a session weight.
func (r *run) prepareScratch(ctx context.Context) error {
	for _, statement := range []string{
		"CREATE DATABASE " + scratch,
		"CREATE TABLE " + scratch + ".weight (id INT AUTO_INCREMENT PRIMARY KEY, filler INT NOT NULL) ENGINE=InnoDB",
	} {
		if _, err := r.env.Root.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("making the scratch table: %w", err)
		}
	}
	return nil
}

// killConnections kills connections of the product's account, whether they are busy or idle.
func killConnections(ctx context.Context, e *episode) error {
	return e.repeatedly(ctx, 50*time.Millisecond, 300*time.Millisecond, func() error {
		rows, err := e.env.Root.QueryContext(ctx, "SELECT id FROM information_schema.processlist WHERE user = 'certpurge'")
		if err != nil {
			return nil // the server is down by another fault, or the episode is over
		}
		defer rows.Close()
		var ids []int64
		for rows.Next() {
			var id int64
			if rows.Scan(&id) == nil {
				ids = append(ids, id)
			}
		}
		for _, id := range ids {
			if rows.Err() == nil && e.rng.chance(0.5) {
				if _, err := e.env.Root.ExecContext(ctx, fmt.Sprintf("KILL %d", id)); err == nil {
					e.hit()
				}
			}
		}
		return nil
	})
}

// restartMySQL restarts the server, in order or by SIGKILL.
func restartMySQL(ctx context.Context, e *episode) error {
	if !purge.Sleep(ctx, e.rng.between(100*time.Millisecond, 800*time.Millisecond)) {
		return nil
	}
	e.hit()
	server := e.env.Servers.MySQL
	if e.rng.chance(0.5) {
		return server.Restart(context.WithoutCancel(ctx))
	}
	if err := server.Signal(os.Kill); err != nil {
		return err
	}
	purge.Sleep(ctx, e.rng.between(0, time.Second))
	return server.Start(context.WithoutCancel(ctx))
}

// provokeDeadlocks locks rows that purges are about to clear, in the opposite order. What counts as injected is what
// the server counts, whichever of the two was the victim.
func provokeDeadlocks(ctx context.Context, e *episode) error {
	before := e.deadlocks(ctx)
	err := e.repeatedly(ctx, time.Millisecond, 20*time.Millisecond, func() error {
		e.lockBackwards(ctx)
		return nil
	})
	e.tally.hit(e.name, max(0, e.deadlocks(context.WithoutCancel(ctx))-before))
	return err
}

// deadlocks is the server's own count; 0 if it is down.
func (e *episode) deadlocks(ctx context.Context) int {
	query := "SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'Innodb_deadlocks'"
	if e.env.Servers.MySQL.Engine == sandbox.OracleMySQL {
		query = "SELECT count FROM information_schema.innodb_metrics WHERE name = 'lock_deadlocks'"
	}
	var n int
	if e.env.Root.QueryRowContext(ctx, query).Scan(&n) != nil {
		return 0
	}
	return n
}

// lockBackwards is one session that holds the history rows of all users of the episode, and then wants their live rows:
// a purge clears the live rows first. The rows written to the scratch table make this session the heavier one, so that
// the server makes the purge the victim. Its errors are the deadlocks that it loses nevertheless, and servers that are
// down.
func (e *episode) lockBackwards(ctx context.Context) {
	tx, err := e.env.Root.BeginTx(ctx, nil)
	if err != nil {
		return
	}
	defer tx.Rollback() //nolint:errcheck // nothing of it is to stay
	if _, err := tx.ExecContext(ctx, weigh); err != nil {
		return
	}
	users := strings.Trim(strings.Join(strings.Fields(fmt.Sprint(e.users)), ","), "[]")
	for _, statement := range []string{
		"SELECT history_id FROM " + demo.LMSDatabase + "." + lms.History +
			" WHERE user_id IN (%s) ORDER BY history_id DESC FOR UPDATE",
		"SELECT id FROM " + demo.LMSDatabase + "." + lms.Certificates + " WHERE user_id IN (%s) ORDER BY id DESC FOR UPDATE",
	} {
		if _, err := tx.ExecContext(ctx, fmt.Sprintf(statement, users)); err != nil {
			return
		}
		purge.Sleep(ctx, e.rng.between(5*time.Millisecond, 60*time.Millisecond))
	}
}
