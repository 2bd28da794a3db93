package purge

import "time"

// Retiree is a user with a retirement request, as the LMS database shows it at one moment.
type Retiree struct {
	User       UserID
	Retirement Retirement
	// Since is when the user asked for retirement: the creation of the status row, or, once that is cleaned up, of the
	// request.
	Since time.Time
}

// Standing is how a user with references stands: whether they still count, and what became of the requests.
type Standing struct {
	Left    bool  // a reference that a purge would clear; false where only history rows have one and those are not cleared
	Open    bool  // a request is queued or running
	Ended   State // how the latest request ended; empty if none has
	EndedAt time.Time
}
