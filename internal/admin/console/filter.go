package console

import (
	"cmp"
	"html/template"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/queue/inspect"
)

// filterKeys are the parameters of /requests that choose requests, in the order in which a page shows them.
var filterKeys = []string{
	"state", "reason", "source", "queue", "by", "user", "id", "key", "caller", "ticket", "from", "to",
}

// maxChosen is how many requests may be chosen by id.
const maxChosen = 500

// filter is what chooses requests, as an address has it and as the ledger understands it.
type filter struct {
	Values url.Values // only what chooses, without what is empty
	search mysql.Search
	after  mysql.Position
}

// parseFilter reads a filter. Its errors name the parameter and what was expected.
func parseFilter(values url.Values) (f filter, err error) {
	f.Values = url.Values{}
	for _, key := range filterKeys {
		for _, value := range values[key] {
			if value = strings.TrimSpace(value); value != "" {
				f.Values.Add(key, value)
			}
		}
	}
	for _, read := range []func() error{f.readWords, f.readIDs, f.readTexts, f.readPeriod} {
		if err := read(); err != nil {
			return f, err
		}
	}
	f.after, err = parsePosition(values)
	return f, err
}

// Get is the value of a parameter, for the form.
func (f filter) Get(key string) string { return f.Values.Get(key) }

// Query is the filter as an address has it, with other parameters. It is escaped already.
func (f filter) Query(more ...string) template.URL {
	values := url.Values{}
	maps.Copy(values, f.Values)
	for i := 0; i+1 < len(more); i += 2 {
		values.Set(more[i], more[i+1])
	}
	return template.URL(values.Encode()) //nolint:gosec // Encode escapes what comes from the address
}

// Plain reports whether only state and reason choose, so that the cached figures answer.
func (f filter) Plain() bool {
	for key := range f.Values {
		if key != "state" && key != "reason" {
			return false
		}
	}
	return true
}

// One of a closed set of words.
func oneOf[T ~string](key, value string, words []T) (T, error) {
	if value != "" && !slices.Contains(words, T(value)) {
		return "", badAddress("%s: there is no %.60q: expected one of %s", key, value, strings.Join(cli.Words(words), ", "))
	}
	return T(value), nil
}

func (f *filter) readWords() (err error) {
	if f.search.State, err = oneOf("state", f.Get("state"), purge.States()); err != nil {
		return err
	}
	if f.search.Reason, err = oneOf("reason", f.Get("reason"), purge.Reasons()); err != nil {
		return err
	}
	source, err := oneOf("source", f.Get("source"), purge.Sources())
	if err != nil {
		return err
	}
	name, err := oneOf("queue", f.Get("queue"), queue.Queues())
	if err != nil {
		return err
	}
	if name != "" {
		f.search.Sources = inspect.Sources(name)
	}
	if source != "" {
		if name != "" && !slices.Contains(f.search.Sources, source) {
			return badAddress("queue: requests of source %s do not go into queue %s: choose one of the two", source, name)
		}
		f.search.Sources = []purge.Source{source}
	}
	return nil
}

func (f *filter) readIDs() (err error) {
	if text := f.Get("user"); text != "" {
		if f.search.User, err = purge.ParseUserID(text); err != nil {
			return badAddress("user: %w", err)
		}
	}
	f.search.IDs, err = requestIDs(f.Values["id"])
	return err
}

// requestIDs reads the ids of requests, each once.
func requestIDs(texts []string) (ids []purge.RequestID, err error) {
	if len(texts) > maxChosen {
		return nil, badAddress("id: %d requests were chosen: expected at most %d", len(texts), maxChosen)
	}
	for _, text := range texts {
		id, err := parseRequestID(text)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

func parseRequestID(text string) (purge.RequestID, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 {
		return 0, badAddress("id: %.60q is not a request id: expected a positive number", text)
	}
	return purge.RequestID(id), nil
}

func (f *filter) readTexts() (err error) {
	if f.search.By = f.Get("by"); len(f.search.By) > 160 {
		return badAddress("by: expected a part of the text in the column requested by, at most 160 bytes")
	}
	if f.search.Ticket = f.Get("ticket"); purge.CheckTicket(f.search.Ticket) != nil {
		return badAddress("ticket: %w", purge.CheckTicket(f.search.Ticket))
	}
	key, caller := f.Get("key"), f.Get("caller")
	switch {
	case key == "" && caller != "":
		return badAddress("caller: it says whose key it is: give both")
	case key != "":
		// As in enqueuer status: the caller as logs and the ledger write it.
		if f.search.Key, err = purge.CallerKey(strings.Replace(caller, " ", ":", 1), key); err != nil {
			return badAddress("key: %w", err)
		}
	}
	return nil
}

func (f *filter) readPeriod() (err error) {
	if f.search.EndedFrom, err = parseTime("from", f.Get("from"), 0); err != nil {
		return err
	}
	if f.search.EndedTo, err = parseTime("to", f.Get("to"), 24*time.Hour); err != nil {
		return err
	}
	if key := cmp.Or(f.Get("from"), f.Get("to")); key != "" && f.search.State != "" && !f.search.State.Ended() {
		return badAddress("from, to: they choose requests that ended in that period, and none that is %s has", f.search.State)
	}
	if !f.search.EndedTo.IsZero() && !f.search.EndedFrom.Before(f.search.EndedTo) {
		return badAddress("from, to: the period ends before it begins")
	}
	return nil
}

// parseTime reads a day or a time. The end of a period that is a day is the end of that day.
func parseTime(key, text string, day time.Duration) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.DateOnly, text); err == nil {
		return at.Add(day), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil || at.Year() < 1 || at.Year() > 9999 {
		return at, badAddress("%s: %.60q is no day and no time: expected 2026-01-31 or 2026-01-31T08:00:00Z, in UTC",
			key, text)
	}
	return at.UTC(), nil
}

// parsePosition reads where a page begins.
func parsePosition(values url.Values) (p mysql.Position, err error) {
	text := values.Get("before")
	if text == "" {
		return p, nil
	}
	if p.ID, err = parseRequestID(text); err != nil {
		return p, badAddress("before: %.60q is not a request id: expected a positive number", text)
	}
	if at := values.Get("at"); at != "" {
		if p.At, err = time.Parse(time.RFC3339Nano, at); err != nil {
			return p, badAddress("at: %.60q is no time", at)
		}
	}
	return p, nil
}

// position writes a position as parsePosition reads it.
func position(p mysql.Position) []string {
	texts := []string{"before", strconv.FormatInt(int64(p.ID), 10)}
	if !p.At.IsZero() {
		texts = append(texts, "at", p.At.UTC().Format(time.RFC3339Nano))
	}
	return texts
}
