package purge

import "time"

// Retiree is a user with a retirement request, as the LMS database shows it at one moment.
type Retiree struct {
	User       UserID
	Retirement Retirement
	// Since is when the user requested retirement: the creation of the status row, or, once that is cleaned up, of the
	// request.
	Since time.Time
}

// Standing is the state of a user with references: whether they still count, and how the latest request ended.
type Standing struct {
	// Left is whether a purge would clear a reference. It is false where only history rows have one and those are not
	// cleared, and where there are no more than the links of other services that the latest purge has kept.
	Left    bool
	Open    bool  // a request is queued or running
	Ended   State // how the latest request ended; empty if none has
	EndedAt time.Time
}
