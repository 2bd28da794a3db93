package console

import (
	"net/http"
	"slices"

	"github.com/certpurge/certpurge/internal/queue"
)

func (c *Console) askResume(r *http.Request) (question, error) {
	name := r.PathValue("queue")
	if !slices.Contains(queue.Queues(), name) {
		return question{}, badInput("there is no queue %.60q", name)
	}
	return question{
		Title: "Resume queue " + name, Button: "Resume " + name, Back: "/", Ticket: true,
		Text: "Workers pull tasks from this queue again. Look first why it was paused; the log of the process in which " +
			"that was done names who did it.",
	}, nil
}

func (c *Console) doResume(r *http.Request, by actor) (answer, error) {
	name := r.PathValue("queue")
	if !slices.Contains(queue.Queues(), name) {
		return answer{}, badInput("there is no queue %.60q", name)
	}
	if err := c.sources.Operations.ResumeQueue(r.Context(), name, by.By, by.Ticket); err != nil {
		return answer{}, err
	}
	return answer{Title: "Queue " + name + " runs again", Text: "Workers pull tasks from it.", Back: "/"}, nil
}

func (c *Console) askFix(r *http.Request) (question, error) {
	q := question{
		Title: "Fix what the doctor found", Button: "Fix it", Back: "/", Ticket: true,
		Text: "This does what enqueuer doctor --fix does: it looks again, and fixes what is safe to fix. No file and no " +
			"link is touched. As it stood at the last look, it would:",
	}
	for _, f := range c.doctor.get(r.Context(), c).Value.Findings {
		if f.Fix != "" {
			q.List = append(q.List, f.Subject+": "+f.Fix)
		}
	}
	if len(q.List) == 0 {
		q.List = []string{"change nothing: nothing was found that it could fix"}
	}
	return q, nil
}

func (c *Console) doFix(r *http.Request, by actor) (answer, error) {
	findings, err := c.sources.Operations.Fix(r.Context(), by.By, by.Ticket)
	if err != nil {
		return answer{}, err
	}
	a := answer{Title: "The doctor has looked again", Text: "What was found, and what of it was fixed:", Back: "/"}
	for _, f := range findings {
		text := f.Subject + ": " + f.Text
		switch {
		case f.Fixed:
			text += " Fixed: " + f.Fix + "."
		case f.Fix != "":
			text += " Not fixed yet: there is more of it, or another process is fixing it. Do it again."
			a.Level = "warn"
		}
		a.List = append(a.List, text)
	}
	if len(findings) == 0 {
		a.Text = "Nothing is wrong."
	}
	return a, nil
}
