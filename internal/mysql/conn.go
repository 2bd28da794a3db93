package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	driversql "github.com/go-sql-driver/mysql"
)

// connectors makes connections that leave a server which takes no writes.
type connectors struct{ driver.Connector }

// Connect implements driver.Connector.
func (c connectors) Connect(ctx context.Context) (driver.Conn, error) {
	made, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	whole, ok := made.(driverConn)
	if !ok {
		return nil, errors.Join(errors.New("the MySQL driver's connection lacks what certpurge needs of it"), made.Close())
	}
	packet, err := maxAllowedPacket(ctx, whole)
	if err != nil {
		return nil, errors.Join(err, made.Close())
	}
	return conn{driverConn: whole, packet: packet}, nil
}

// maxAllowedPacket asks how large a packet may be. A session keeps the value that it began with.
func maxAllowedPacket(ctx context.Context, c driver.QueryerContext) (packet int64, err error) {
	rows, err := c.QueryContext(ctx, "SELECT CAST(@@max_allowed_packet AS SIGNED)", nil)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	row := make([]driver.Value, 1)
	if err := rows.Next(row); err != nil {
		return 0, err
	}
	packet, ok := row[0].(int64)
	if !ok {
		return 0, fmt.Errorf("max_allowed_packet is a %T", row[0])
	}
	return packet, nil
}

// driverConn is what the driver's connection can do; database/sql looks for each part.
type driverConn interface {
	driver.Conn
	driver.Pinger
	driver.ExecerContext
	driver.QueryerContext
	driver.ConnPrepareContext
	driver.ConnBeginTx
	driver.SessionResetter
	driver.Validator
	driver.NamedValueChecker
}

// conn is a connection that database/sql throws away once the server has said that it takes no writes: after a
// failover, the pool must not stay with the old primary. The driver's own option for that replaces the server's
// answer.
type conn struct {
	driverConn

	packet int64 // bytes that the server takes at a time
}

// ExecContext implements driver.ExecerContext.
func (c conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	result, err := c.driverConn.ExecContext(ctx, query, args)
	return result, leave(err)
}

// QueryContext implements driver.QueryerContext.
func (c conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := c.driverConn.QueryContext(ctx, query, args)
	return rows, leave(err)
}

// leave marks the answer of a server that takes no writes as the end of its connection, and keeps the answer.
func leave(err error) error {
	if e, ok := errors.AsType[*driversql.MySQLError](err); ok && isReadOnly(e.Number) {
		return errors.Join(driver.ErrBadConn, err)
	}
	return err
}
