package sandboxtest

import (
	"fmt"
	"strings"
)

// Numbers is a table for a FROM clause: its column seq holds the numbers from 1 to n. MariaDB has tables of that kind,
// MySQL has not.
func Numbers(n int) string {
	const digits = "(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4" +
		" UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)"
	sum, tables := []string{"1"}, []string{}
	for power := 1; power < n || len(tables) == 0; power *= 10 {
		name := fmt.Sprintf("d%d", len(tables))
		sum = append(sum, fmt.Sprintf("%d * %s.d", power, name))
		tables = append(tables, digits+" "+name)
	}
	return fmt.Sprintf("(SELECT %s AS seq FROM %s HAVING seq <= %d) numbers", strings.Join(sum, " + "),
		strings.Join(tables, " CROSS JOIN "), n)
}
