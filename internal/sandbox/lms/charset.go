package lms

// Charset says which character sets and collations the tables get. A real table has what was the default when it was
// made, so a site that has been running for years has several.
type Charset int

// The kinds of sites.
const (
	UTF8MB4 Charset = iota // made by a recent release: utf8mb4_unicode_ci everywhere
	UTF8MB3                // made by an old release: utf8mb3_general_ci everywhere
	Mixed                  // grown: old tables utf8mb3, newer ones utf8mb4, with different collations
)

// Charsets lists them all, for tests that must hold on each.
var Charsets = []Charset{UTF8MB4, UTF8MB3, Mixed}

// String names the charset in the names of tests.
func (c Charset) String() string {
	switch c {
	case UTF8MB4:
		return "utf8mb4"
	case UTF8MB3:
		return "utf8mb3"
	default:
		return "mixed"
	}
}

const (
	recent = " DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"
	other  = " DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"
	old    = " DEFAULT CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci"
)

// clause is the end of the statement that creates the table; without a name, the database.
func (c Charset) clause(table string) string {
	switch c {
	case UTF8MB4:
		return recent
	case UTF8MB3:
		return old
	default:
		switch table {
		case Users, Certificates:
			return old
		case History:
			return other
		default:
			return recent
		}
	}
}
