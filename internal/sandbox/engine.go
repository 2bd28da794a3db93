package sandbox

import (
	"fmt"
	"os"
)

// Engine is a program that serves MySQL's protocol.
type Engine string

// The engines, as EnvServer names them.
const (
	MariaDB     Engine = "mariadb"
	OracleMySQL Engine = "mysql"
)

// EnvServer names the variable that chooses the engine of StartServers; MariaDB, if it is empty.
const EnvServer = "CERTPURGE_TEST_SERVER"

// Title is the engine's name in texts.
func (e Engine) Title() string {
	if e == OracleMySQL {
		return "MySQL"
	}
	return "MariaDB"
}

// ChosenEngine reads EnvServer.
func ChosenEngine() (Engine, error) {
	switch e := Engine(os.Getenv(EnvServer)); e {
	case "":
		return MariaDB, nil
	case MariaDB, OracleMySQL:
		return e, nil
	default:
		return "", fmt.Errorf("%s is %q: expected %s or %s", EnvServer, string(e), MariaDB, OracleMySQL)
	}
}
