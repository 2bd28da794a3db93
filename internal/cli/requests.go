package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// RequestList writes requests page by page, however many there are. A list that was cut looks like one: Close writes
// its end.
type RequestList interface {
	Add(page []mysql.Request) error
	Close() error
}

// NewRequestList makes a list in a format, json or csv.
func NewRequestList(w io.Writer, format Format) RequestList {
	if format == "json" {
		return &jsonRequests{w: w, separator: `{"requests":[`}
	}
	list := csvRequests{NewCSV(w)}
	_ = list.Write([]string{ // Add and Close report what is lost
		"request_id", "user_id", "source", "reason", "attempts", "requested_at", "finished_at", "detail",
		"certificate_id", "state", "requested_by", "ticket",
	})
	return list
}

type csvRequests struct{ CSV }

func (l csvRequests) Add(page []mysql.Request) error {
	for _, r := range page {
		finished := ""
		if r.FinishedAt != nil {
			finished = r.FinishedAt.Format(time.RFC3339)
		}
		_ = l.Write([]string{ // Error reports what is lost
			decimal(r.ID), decimal(r.UserID), string(r.Source), string(r.Reason), strconv.Itoa(r.Attempts),
			r.RequestedAt.Format(time.RFC3339), finished, r.Detail, decimal(r.CertificateID), string(r.State), r.RequestedBy,
			r.Ticket,
		})
	}
	return l.Close()
}

func (l csvRequests) Close() error {
	l.Flush()
	return l.Error()
}

func decimal[T ~int64](n T) string { return strconv.FormatInt(int64(n), 10) }

type jsonRequests struct {
	w         io.Writer
	separator string
}

func (l *jsonRequests) Add(page []mysql.Request) error {
	for _, r := range page {
		data, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("writing the answer: %w", err)
		}
		if _, err = io.WriteString(l.w, l.separator); err == nil {
			_, err = purge.EscapedJSON{W: l.w}.Write(data)
		}
		if err != nil {
			return fmt.Errorf("writing the answer: %w", err)
		}
		l.separator = ","
	}
	return nil
}

func (l *jsonRequests) Close() error {
	if l.separator != "," {
		if _, err := io.WriteString(l.w, l.separator); err != nil {
			return fmt.Errorf("writing the answer: %w", err)
		}
	}
	_, err := io.WriteString(l.w, "]}\n")
	return err
}
