package console

import "github.com/certpurge/certpurge/internal/purge"

// advice says what a reason means and what fixes it.
type advice struct {
	Means   string
	Do      string // before the command
	Command string // to copy; empty if nothing is to be done by hand
	Runbook string // the name of its page in docs/operations; may be empty
}

// failures are the reasons for which requests end as failed.
var failures = map[purge.Reason]advice{
	purge.ReasonHeld: {
		"A hold protects a file.", "Release the hold, then run them again.", "enqueuer requeue --reason held --execute",
		"#reasons",
	},
	purge.ReasonNoPermission: {
		"The service account may not delete an object.", "Grant storage.objects.delete, then run them again.",
		"enqueuer requeue --reason no_permission --execute",
		"#reasons",
	},
	purge.ReasonUnrecognised: {
		"No file can be named from a link: a foreign bucket, an odd id.",
		"Look them up, add the location or its URL prefix, restart the workers, then run them again.",
		"enqueuer requeue --reason unrecognised_reference --execute",
		"#reasons",
	},
	purge.ReasonShared: {
		"A row of another user names the same directory, or did. Nothing in it was deleted.",
		"The details name both users. Correct the rows in the LMS; or, if the files are the retiring user's, run them " +
			"again with --accept-shared.",
		"enqueuer failures --reason shared_directory",
		"shared-directory",
	},
	purge.ReasonTooMany: {
		"A directory lists more objects than any certificate has. Nothing in it was deleted.",
		"Look at the bucket and the location; raise gcs.max_generations if that is right, then run them again.",
		"enqueuer failures --reason too_many_objects",
		"#reasons",
	},
	purge.ReasonFilesMissing: {
		"A directory in which files were expected is empty, and they may be somewhere else. What was found is erased, the " +
			"links are kept.",
		"Check the location and its verify_dir; then run them again, with --accept-missing if the files are known " +
			"to be gone.",
		"enqueuer failures --reason files_missing",
		"files-missing",
	},
	purge.ReasonGaveUp: {
		"Failures for hours, or workers that died on them.", "The details say which. Fix it, then run them again.",
		"enqueuer failures --reason gave_up",
		"failures",
	},
}

// waits are the reasons for which requests wait.
var waits = map[purge.Reason]advice{
	purge.ReasonNone:        {Means: "Not begun yet, or opened again."},
	purge.ReasonTransient:   {Means: "A failure that should pass; tried again by itself.", Runbook: "retries"},
	purge.ReasonThrottled:   {Means: "Cloud Storage asked to slow down; tried again by itself.", Runbook: "throttled"},
	purge.ReasonRetained:    {Means: "A date protects a file; tried again after it."},
	purge.ReasonSoftDeleted: {Means: "A file can still be restored; tried again after that."},
	purge.ReasonMisconfigured: {
		Means: "A bucket, a right or a setting is wrong for all users.",
		Do:    "Readiness and the log say which. Once fixed, they continue without you.", Runbook: "unready",
	},
	purge.ReasonUnavailable: {Means: "MySQL, or the source of access tokens, could not be used; they continue by " +
		"themselves."},
	purge.ReasonStopped: {Means: "Their worker was stopping; another one continues."},
}

// odd are ends that an operator should know of although nothing failed.
var odd = map[purge.Reason]advice{
	purge.ReasonFilesMissing: {
		"Links were cleared although some of their files were never seen: that was accepted.",
		"The evidence says which, and by whom.",
		"enqueuer report --user USER_ID",
		"files-missing",
	},
}

// forDate are the reasons that a date ends, so that waiting is no lack of progress.
func forDate(r purge.Reason) bool { return r == purge.ReasonRetained || r == purge.ReasonSoftDeleted }
