package config

import "strings"

// secretFile is a secret that may be given as the name of a file that holds it.
type secretFile struct {
	path   string // of the secret; that of the file name is the same with "_file"
	secret *Secret
	file   string
	lines  bool // it may have more than one line
}

func sharedSecretFiles(mysql *MySQL, redis *Redis, admin *Admin) []secretFile {
	return []secretFile{
		{path: "mysql.dsn", secret: &mysql.DSN, file: mysql.DSNFile},
		{path: "redis.url", secret: &redis.URL, file: redis.URLFile},
		{path: "redis.password", secret: &redis.Password, file: redis.PasswordFile},
		{path: "redis.sentinel_password", secret: &redis.SentinelPassword, file: redis.SentinelPasswordFile},
		{path: "admin.users", secret: &admin.Users, file: admin.UsersFile, lines: true},
	}
}

// readSecretFiles reads the secrets that are given as files.
func (l *loader) readSecretFiles(files []secretFile) {
	for _, f := range files {
		_, given := l.origins[f.path]
		switch {
		case f.file == "":
		case given && !f.secret.IsZero():
			// Not a matter of precedence: which of the two was meant cannot be told, and the wrong one is another server.
			l.reportUnread(f.path, "is set together with "+f.path+"_file; keep one of them")
		default:
			l.readSecretFile(f)
		}
	}
}

func (l *loader) readSecretFile(f secretFile) {
	content, err := readLimited(f.file)
	if err != nil {
		l.report(f.path+"_file", err.Error())
		l.unread[f.path] = true
		return
	}
	value := strings.TrimRight(string(content), "\r\n")
	l.origins[f.path] = f.file // Problems with the value point to where it came from.
	if value == "" || !f.lines && strings.ContainsAny(value, "\r\n") {
		what := "the one line"
		if f.lines {
			what = "the content"
		}
		l.reportUnread(f.path, "must be "+what+" of its file")
		return
	}
	*f.secret = NewSecret(value)
}
