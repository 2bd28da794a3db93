package console

import (
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/certpurge/certpurge/internal/mysql"
)

var functions = template.FuncMap{
	"number": number, "age": age, "stamp": stamp, "iso": func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"places": func() []place { return places }, "clock": clockElement, "moment": momentElement,
	"notes": func(v view, n note) any {
		return struct {
			note
			Base     string
			Operates bool
		}{n, v.About.Base, v.Operates}
	},
	"lines": func(v view, all []line) any {
		return struct {
			Lines    []line
			Base     string
			Operates bool
		}{all, v.About.Base, v.Operates}
	},
	"chartWidth": func() float64 { return chartWidth }, "chartHeight": func() float64 { return chartHeight },
	"deed": deed, "words": strings.Fields, "period": period, "count": func(n int) string { return number(int64(n)) },
	"requeueable": requeueable, "below": below, "rows": newRows,
	"several": func(n int, one, more string) string { return several(int64(n), one, more) },
	"seconds": func(n int64) string { return period(time.Duration(n) * time.Second) },
	"bytes":   bytesText, "between": between,
}

// number writes 1234567 as 1,234,567.
func number(n int64) string { return humanize.Comma(n) }

// id writes the number of a request or a user, as addresses have it.
func id[T ~int64](n T) string { return strconv.FormatInt(int64(n), 10) }

// bytesText writes a size.
func bytesText(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

// between is the time from one moment to another, to the millisecond if it is short.
func between(from, to time.Time) string {
	switch d := to.Sub(from); {
	case d < time.Millisecond:
		return "less than 1 ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	default:
		return period(d)
	}
}

// several writes a number and what there are.
func several(n int64, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + more
}

// age says how long ago a time was, or how far ahead it is, in the two largest units.
func age(now, then time.Time) string { return period(now.Sub(then).Abs()) }

// period writes a duration in its two largest units.
func period(d time.Duration) string {
	units := []struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}}
	for i, u := range units {
		if d < u.size {
			continue
		}
		text := fmt.Sprintf("%d %s", d/u.size, u.name)
		if i+1 < len(units) {
			if rest := d % u.size / units[i+1].size; rest > 0 {
				text += fmt.Sprintf(" %d %s", rest, units[i+1].name)
			}
		}
		return text
	}
	return "0 s"
}

// stamp writes a time for people; the page says that all are UTC.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") }

// clockElement writes a time to the minute; the script shows it in the reader's zone.
func clockElement(t time.Time) template.HTML {
	return template.HTML(fmt.Sprintf(`<time datetime="%s" data-clock="minutes">%s</time>`, //nolint:gosec // digits only
		t.UTC().Format(time.RFC3339), stamp(t)))
}

// momentElement writes a time to the second.
func momentElement(t time.Time) template.HTML {
	return template.HTML(fmt.Sprintf(`<time datetime="%s" data-clock="seconds">%s</time>`, //nolint:gosec // digits only
		t.UTC().Format(time.RFC3339), t.UTC().Format(time.DateTime)))
}

// deed says what an operator did.
func deed(o mysql.Operation) string {
	switch o.Kind {
	case mysql.OperationResumed:
		return "resumed queue " + o.Subject
	case mysql.OperationFixed:
		return "had the doctor fix what is safe to fix"
	case mysql.OperationDashboard:
		return "in the dashboard: " + o.Subject
	default:
		return string(o.Kind) + " " + o.Subject
	}
}
