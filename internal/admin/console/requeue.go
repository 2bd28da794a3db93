package console

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

const (
	maxRequeued       = 10_000  // requests that are queued again at one click
	maxRequeueChecked = 200_000 // rows that are checked to find them
	listMost          = 10      // requests that are named in a question
)

// chosen says which requests are to be queued again: some, by their ids, or all of a filter that had ended at a moment.
type chosen struct {
	ids    []purge.RequestID
	filter filter
	ended  time.Time // requests that ended later were not in the question
}

// parseChosen reads a choice from an address, or from the form that follows.
func (c *Console) parseChosen(values url.Values) (ch chosen, err error) {
	if values.Get("all") == "" {
		if ch.ids, err = requestIDs(values["id"]); err == nil && len(ch.ids) == 0 {
			err = badInput("no request was chosen: tick some, or take all of the filter")
		}
		return ch, err
	}
	if ch.filter, err = parseFilter(values); err != nil {
		return ch, err
	}
	if s := ch.filter.search.State; s != "" && s != purge.Failed && s != purge.Refused {
		return ch, badInput("state: only what failed or was refused can be queued again; these are %s", s)
	}
	ch.ended = c.Now().UTC()
	if text := values.Get("ended"); text != "" {
		if ch.ended, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return ch, badInput("ended: %.60q is no time", text)
		}
	}
	return ch, nil
}

// searches are those of all that is chosen: of those that failed, and of those that were refused.
func (ch chosen) searches() (all []mysql.Search) {
	for _, state := range []purge.State{purge.Failed, purge.Refused} {
		if s := ch.filter.search; s.State == "" || s.State == state {
			s.State = state
			all = append(all, s)
		}
	}
	return all
}

// find returns the chosen requests that can be queued again, maxRequeued at most; left is how many of those that were
// chosen by id cannot, and whole whether that is all.
func (c *Console) find(ctx context.Context, ch chosen) (rows []mysql.Request, left int, whole bool, err error) {
	if len(ch.ids) > 0 {
		all, err := c.sources.Records.Requests(ctx, ch.ids)
		if err == nil && len(all) < len(ch.ids) {
			err = badInput("the ledger has no request %s", unknownOf(ch.ids, all))
		}
		rows = slices.DeleteFunc(slices.Clone(all), func(r mysql.Request) bool { return !requeueable(r) })
		return rows, len(all) - len(rows), true, err
	}
	whole = true
	for _, search := range ch.searches() {
		for after, checked := (mysql.Position{}), 0; ; {
			if len(rows) >= maxRequeued || checked >= maxRequeueChecked {
				whole = false
				break
			}
			hits, err := c.sources.Records.Search(ctx, search, after,
				mysql.Bounds{Page: min(purge.MaxBatch, maxRequeued-len(rows)), Check: maxChecked})
			if err != nil {
				return nil, 0, false, err
			}
			for _, r := range hits.Requests {
				if r.FinishedAt == nil || !r.FinishedAt.After(ch.ended) {
					rows = append(rows, r)
				}
			}
			if checked += hits.Checked; hits.Next == nil {
				break
			}
			after = *hits.Next
		}
	}
	return rows, 0, whole, nil
}

// remaining says how many of a filter can be queued again, as far as a page may count.
func (c *Console) remaining(ctx context.Context, ch chosen) (string, error) {
	sum, exact := int64(0), true
	for _, search := range ch.searches() {
		hits, err := c.sources.Records.Search(ctx, search, mysql.Position{},
			mysql.Bounds{Count: maxCounted, Check: maxChecked})
		if err != nil {
			return "", err
		}
		for _, t := range hits.Counts {
			sum += t.Count
		}
		exact = exact && hits.Whole
	}
	if exact {
		return number(sum), nil
	}
	return "At least " + number(sum), nil
}

func unknownOf(ids []purge.RequestID, found []mysql.Request) string {
	var texts []string
	for _, n := range ids {
		if !slices.ContainsFunc(found, func(r mysql.Request) bool { return r.ID == n }) {
			texts = append(texts, id(n))
		}
	}
	return strings.Join(texts, ", ")
}

// reasonsOf counts requests by state and reason, the most frequent ones first.
func reasonsOf(rows []mysql.Request) (texts []string, of map[purge.Reason]int) {
	counts := map[string]int{}
	of = map[purge.Reason]int{}
	for _, r := range rows {
		counts[string(r.State)+": "+string(r.Reason)]++
		of[r.Reason]++
	}
	for text, n := range counts {
		texts = append(texts, several(int64(n), "request", "requests")+" "+text)
	}
	slices.Sort(texts)
	return texts, of
}

func (c *Console) askRequeue(r *http.Request) (question, error) {
	ch, err := c.parseChosen(r.URL.Query())
	if err != nil {
		return question{}, err
	}
	rows, left, whole, err := c.find(r.Context(), ch)
	if err != nil {
		return question{}, err
	}
	if len(rows) == 0 {
		return question{}, badInput("none of these requests failed or was refused: nothing to queue again")
	}
	texts, of := reasonsOf(rows)
	q := question{
		Title: "Queue " + several(int64(len(rows)), "request", "requests") + " again", Back: "/requests", Ticket: true,
		Button: "Queue " + several(int64(len(rows)), "request", "requests") + " again",
		Text: "They are opened again with all attempts before them, and workers purge these users if the LMS still says " +
			"that they are retiring. What failed fails again unless its cause is fixed.",
		List: texts, Values: url.Values{},
	}
	if len(rows) <= listMost {
		var ids []string
		for _, row := range rows {
			ids = append(ids, id(row.ID)+" (user "+id(row.UserID)+")")
		}
		q.List = append(q.List, "that is "+strings.Join(ids, ", "))
	}
	if left > 0 {
		q.List = append(q.List, several(int64(left), "other chosen request", "other chosen requests")+
			" did not fail, and will be left alone")
	}
	if !whole {
		q.List = append(q.List, "the filter chooses more than that: repeat this for the rest")
	}
	if len(ch.ids) > 0 {
		for _, n := range ch.ids {
			q.Values.Add("id", id(n))
		}
	} else {
		maps.Copy(q.Values, ch.filter.Values)
		q.Values.Set("all", "1")
		q.Values.Set("ended", ch.ended.Format(time.RFC3339Nano))
		q.Back = "/requests?" + string(ch.filter.Query())
	}
	q.Choices = acceptances(of)
	return q, nil
}

// acceptances are the doubts that an operator may accept for requests that failed because of them.
func acceptances(of map[purge.Reason]int) (choices []choice) {
	if n := of[purge.ReasonFilesMissing]; n > 0 {
		choices = append(choices, choice{"accept_missing", fmt.Sprintf("Clear the links of the %s although expected files "+
			"were never found. Only if you have checked that they are gone, and not somewhere else; the evidence names you.",
			several(int64(n), "request that failed as files_missing", "requests that failed as files_missing"))})
	}
	if n := of[purge.ReasonShared]; n > 0 {
		choices = append(choices, choice{"accept_shared", fmt.Sprintf("Erase the directories of the %s although a row of "+
			"another user names them. Only if you have checked that the files are the retiring user's; the evidence names you.",
			several(int64(n), "request that failed as shared_directory", "requests that failed as shared_directory"))})
	}
	return choices
}

func (c *Console) doRequeue(r *http.Request, by actor) (answer, error) {
	ch, err := c.parseChosen(r.PostForm)
	if err != nil {
		return answer{}, err
	}
	rows, left, whole, err := c.find(r.Context(), ch)
	if err != nil {
		return answer{}, err
	}
	reopening := purge.Reopening{By: by.By, Ticket: by.Ticket}
	if r.PostForm.Get("accept_missing") != "" {
		reopening.AcceptMissing = by.By
	}
	if r.PostForm.Get("accept_shared") != "" {
		reopening.AcceptShared = by.By
	}
	opened, err := c.requeue(r.Context(), rows, reopening)
	if err != nil {
		return answer{}, fmt.Errorf("%w (%d requests were opened again; repeating it is safe)", err, opened)
	}
	a := answer{
		Title: several(int64(opened), "request", "requests") + " queued again", Text: "Workers do the rest.",
		Back: "/requests",
	}
	if opened == 0 {
		a.Level, a.Text = "warn", "Nothing that was chosen could be queued again any more."
	}
	if len(ch.ids) == 0 {
		a.Back += "?" + string(ch.filter.Query())
	}
	if n := len(rows) - opened; n > 0 {
		a.List, a.Level = append(a.List, several(int64(n), "request was", "requests were")+
			" left alone: another request of the same user, or certificate, is open, or it was opened meanwhile"), "warn"
	}
	if left > 0 {
		a.List, a.Level = append(a.List, several(int64(left), "chosen request", "chosen requests")+
			" did not fail, and were left alone"), "warn"
	}
	if !whole {
		left, err := c.remaining(r.Context(), ch)
		if err != nil {
			return answer{}, err
		}
		a.List, a.Level = append(a.List, left+" of the filter are left: repeat this for them."), "warn"
	}
	return a, nil
}

// requeue opens requests again, part by part, and with what is accepted only where it is about their reason.
func (c *Console) requeue(ctx context.Context, rows []mysql.Request, r purge.Reopening) (opened int, err error) {
	byReason := map[purge.Reopening][]purge.OpenRequest{}
	for _, row := range rows {
		byReason[r.For(row.Reason)] = append(byReason[r.For(row.Reason)], row.Open())
	}
	for own, open := range byReason {
		for part := range slices.Chunk(open, purge.MaxBatch) {
			n, err := c.sources.Operations.Requeue(ctx, part, own)
			if opened += n; err != nil {
				return opened, err
			}
		}
	}
	return opened, nil
}
