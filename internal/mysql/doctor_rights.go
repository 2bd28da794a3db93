package mysql

import (
	"regexp"
	"slices"
	"strings"
)

// unclear stands for a line of SHOW GRANTS that is of no known form. The line itself is not shown: it names the
// account, and with MariaDB its password's hash.
const unclear = "a right that could not be understood (see SHOW GRANTS)"

// excess returns what one line of SHOW GRANTS allows on the LMS database and on the ledger beyond what a role needs.
func (s *Store) excess(role Role, line string) []string {
	grant, ok := strings.CutPrefix(line, "GRANT ")
	if !ok {
		return nil // a partial REVOKE, or the default role
	}
	rights, rest, ok := cutOutside(grant, " ON ")
	if !ok {
		return nil // a role, whose own rights stand on other lines
	}
	object, to, ok := cutOutside(rest, " TO ")
	if !ok {
		return []string{unclear}
	}
	for _, kind := range []string{"TABLE ", "FUNCTION ", "PROCEDURE ", "PACKAGE BODY ", "PACKAGE "} {
		object = strings.TrimPrefix(object, kind)
	}
	if strings.HasPrefix(object, "'") {
		return nil // PROXY, a right on an account
	}
	database, table, ok := cutOutside(object, ".")
	if !ok {
		return []string{unclear}
	}
	database, table = unquote(database), unquote(table)
	lms, _, _ := cutOutside(s.tables.certificates, ".")
	onLMS, onLedger := covers(database, table, unquote(lms)), covers(database, table, s.ledger)
	if !onLMS && !onLedger {
		return nil
	}
	var found []string
	for _, right := range splitOutside(rights) {
		verb, columns := parseRight(right)
		if onLMS && !needed(role, verb, columns, table) || onLedger && !role.allows(verb, table, columns) {
			found = append(found, strings.ReplaceAll(right, "`", "")+" on "+database+"."+table)
		}
	}
	if _, options, ok := cutOutside(to, " WITH "); ok && strings.Contains(options, "GRANT OPTION") {
		found = append(found, "GRANT OPTION on "+database+"."+table)
	}
	return found
}

// parseRight reads one right of a line, with the columns that it is limited to; none if it is not.
func parseRight(right string) (verb string, columns []string) {
	verb, list, limited := strings.Cut(right, "(")
	if limited {
		for column := range strings.SplitSeq(strings.TrimSuffix(list, ")"), ",") {
			columns = append(columns, unquote(strings.TrimSpace(column)))
		}
	}
	return strings.TrimSpace(verb), columns
}

// needed reports whether a role needs a right on the LMS database, or whether it is harmless: reading, and clearing
// references.
func needed(role Role, verb string, columns []string, table string) bool {
	switch verb {
	case "USAGE", "SELECT":
		return true
	case "UPDATE":
		return role == RoleWorker && strings.HasPrefix(table, "certificates_") && len(columns) > 0 &&
			!slices.ContainsFunc(columns, func(c string) bool { return c != "download_uuid" && c != "download_url" })
	default:
		return false
	}
}

// covers reports whether a right on database.table is one on something in the LMS database. In a right on a whole
// database, _ and % are wildcards unless a backslash stands before them.
func covers(database, table, lms string) bool {
	if database == "*" {
		return true
	}
	if table != "*" {
		return strings.EqualFold(database, lms)
	}
	pattern := strings.NewReplacer(`\\_`, "_", `\\%`, "%", "_", ".", "%", ".*").Replace(regexp.QuoteMeta(database))
	matched, err := regexp.MatchString("(?is)^(?:"+pattern+")$", lms)
	return matched || err != nil
}

// unquote reads an identifier.
func unquote(name string) string {
	if inner, ok := strings.CutPrefix(name, "`"); ok {
		return strings.ReplaceAll(strings.TrimSuffix(inner, "`"), "``", "`")
	}
	return name
}

// cutOutside cuts at the first separator that stands outside of quotes and parentheses.
func cutOutside(text, separator string) (before, after string, found bool) {
	var quote byte
	depth := 0
	for i := range len(text) {
		c := text[i]
		switch {
		case quote != 0:
			if c == quote { // a doubled quote closes and opens again
				quote = 0
			}
		case c == '`' || c == '\'' || c == '"':
			quote = c
		case c == '(':
			depth++
		case c == ')':
			depth--
		}
		if quote == 0 && depth == 0 && strings.HasPrefix(text[i:], separator) {
			return text[:i], text[i+len(separator):], true
		}
	}
	return text, "", false
}

// splitOutside splits at commas that stand outside of quotes and parentheses.
func splitOutside(text string) []string {
	var parts []string
	for {
		part, rest, more := cutOutside(text, ",")
		parts = append(parts, strings.TrimSpace(part))
		if !more {
			return parts
		}
		text = rest
	}
}
