package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/certpurge/certpurge/internal/certificate"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// userView is the page of one user.
type userView struct {
	frame

	User        purge.UserID
	Glance      mysql.Glance
	Eligible    bool
	Why         string // why, or why not
	Left        int    // references that a purge would clear
	Rows        []mysql.Request
	More        bool // there are more requests
	Recoverable *time.Time
	Soft        int // objects that were restorable when their request ended
	Certifies   bool
	Command     string
}

func (c *Console) serveUser(w http.ResponseWriter, r *http.Request) {
	user, err := purge.ParseUserID(r.PathValue("id"))
	if err != nil {
		c.reject(w, r, badAddress("user: %w", err))
		return
	}
	hits, err := c.sources.Records.Search(r.Context(), mysql.Search{User: user}, mysql.Position{},
		mysql.Bounds{Page: pageSize, Check: maxChecked})
	if err != nil {
		c.fail(w, r, "Requests", err)
		return
	}
	glance, err := c.sources.Records.GlanceUser(r.Context(), user)
	if err != nil {
		c.fail(w, r, "Requests", err)
		return
	}
	if !glance.Retirement.UserExists && len(hits.Requests) == 0 {
		c.notFound(w, r, "The LMS has no user "+id(user)+", and no request was ever made for that number.")
		return
	}
	v := userView{
		frame: c.framed(r, "Requests", "User "+id(user)), User: user, Glance: glance, Rows: hits.Requests,
		More: hits.Next != nil, Left: glance.Live, Certifies: c.sources.Certificate != nil && len(hits.Requests) > 0,
		Command: "enqueuer enqueue " + id(user),
	}
	if glance.Counts {
		v.Left += glance.History
	}
	v.Eligible, v.Why = c.eligible(glance.Retirement)
	for _, row := range hits.Requests {
		if until := row.RecoverableUntil; until != nil && until.After(v.Now) {
			if v.Soft += row.ObjectsSoftDeleted; v.Recoverable == nil || until.After(*v.Recoverable) {
				v.Recoverable = until
			}
		}
	}
	c.show(w, r, http.StatusOK, "user", v)
}

// eligible says whether a user may be purged, and why.
func (c *Console) eligible(r purge.Retirement) (may bool, why string) {
	reason := c.sources.Refusal(r)
	switch {
	case reason == purge.ReasonNone && r.State == "":
		return true, "The LMS has a retirement request of this user, and no status of the pipeline."
	case reason == purge.ReasonNone:
		return true, "The LMS has a retirement request of this user, in state " + r.State + "."
	case !r.UserExists:
		return false, "The LMS has no such user."
	case !r.Requested:
		return false, "The LMS has no retirement request of this user."
	default:
		return false, "The LMS has a retirement request of this user, in state " + r.State +
			", in which it can still be cancelled, or was."
	}
}

// knownUser reports whether there is anything to show about a user.
func (c *Console) knownUser(ctx context.Context, user purge.UserID) (bool, error) {
	glance, err := c.sources.Records.GlanceUser(ctx, user)
	if err != nil || glance.Retirement.UserExists {
		return err == nil, err
	}
	hits, err := c.sources.Records.Search(ctx, mysql.Search{User: user}, mysql.Position{}, mysql.Bounds{Page: 1})
	return len(hits.Requests) > 0, err
}

func (c *Console) askPurge(r *http.Request) (question, error) {
	user, err := purge.ParseUserID(r.PathValue("id"))
	if err != nil {
		return question{}, badInput("user: %w", err)
	}
	glance, err := c.sources.Records.GlanceUser(r.Context(), user)
	if err != nil {
		return question{}, err
	}
	if !glance.Retirement.UserExists {
		return question{}, badInput("the LMS has no user %d", user)
	}
	q := question{
		Title: "Request a purge of user " + id(user), Button: "Request the purge", Back: "/users/" + id(user), Ticket: true,
		Text: "A worker decides whether the user is retiring when it runs the request. If so, it deletes all files of the " +
			"user's legacy certificates for good, proves it, and clears the links. What it finds at the moment:",
		List: []string{
			several(int64(glance.Live), "certificate has", "certificates have") + " a link, and " +
				several(int64(glance.History), "row", "rows") + " of the history",
		},
	}
	may, why := c.eligible(glance.Retirement)
	if !may {
		why += " As it stands, the request will be refused, and nothing of this user is touched."
	}
	q.List = append(q.List, why)
	return q, nil
}

func (c *Console) doPurge(r *http.Request, by actor) (answer, error) {
	user, err := purge.ParseUserID(r.PathValue("id"))
	if err != nil {
		return answer{}, badInput("user: %w", err)
	}
	accepted, err := c.sources.Operations.Submit(r.Context(), user, by.By, by.Ticket)
	switch {
	case errors.Is(err, errNoSuchUser):
		return answer{}, badInput("the LMS has no user %d", user)
	case err != nil:
		return answer{}, err
	}
	a := answer{Title: "Request " + id(accepted.Request) + " is queued", Back: "/requests/" + id(accepted.Request)}
	switch {
	case accepted.Found == purge.FoundNew:
		a.Text = "A worker takes it as soon as it can."
	case !accepted.Open:
		a.Title = "Request " + id(accepted.Request) + " is done already"
		a.Text = "No link of user " + id(user) + " is left. Nothing was queued; the ledger records your submission."
	case accepted.Found == purge.Found(purge.Queued) || accepted.Found == purge.Found(purge.Running):
		a.Title = "Request " + id(accepted.Request) + " is " + string(accepted.Found) + " already"
		a.Text = "Of a user, one request is open at most. The ledger records your submission."
	default:
		a.Text = "It was " + string(accepted.Found) + ", and runs again."
	}
	return a, nil
}

// serveCertificate serves the certificate of erasure of a user, or the statement of what is left: a page to print, or
// with ?form=json the signed document, to keep.
func (c *Console) serveCertificate(w http.ResponseWriter, r *http.Request) {
	user, err := purge.ParseUserID(r.PathValue("id"))
	if err != nil {
		c.reject(w, r, badAddress("user: %w", err))
		return
	}
	document, err := c.sources.Certificate(r.Context(), user)
	if err != nil {
		c.fail(w, r, "Requests", err)
		return
	}
	if document == nil {
		c.showMessage(w, r, http.StatusNotFound, message{
			frame: c.framed(r, "Requests", "No request"), Level: "warn", Back: fmt.Sprintf("/users/%d", user),
			Text: fmt.Sprintf("No request was ever made for user %d, so there is nothing to certify.", user),
		})
		return
	}
	if r.URL.Query().Get("form") == "json" {
		text, err := document.Encode()
		if err != nil {
			c.fail(w, r, "Requests", err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="erasure-%d.json"`, user))
		_, _ = w.Write(text) // the client has gone
		return
	}
	var page bytes.Buffer
	if err := document.WriteHTML(&page); err != nil {
		c.fail(w, r, "Requests", err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", certificate.ContentSecurityPolicy())
	_, _ = w.Write(page.Bytes()) // the client has gone
}
