package config

import (
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// Worker is the configuration of the worker: what it needs to take tasks, erase artifacts and clear references.
type Worker struct {
	Log        Log        `yaml:"log"`
	MySQL      MySQL      `yaml:"mysql"`
	LMS        LMS        `yaml:"lms"`
	Redis      Redis      `yaml:"redis"`
	Tasks      Tasks      `yaml:"tasks"`
	Queue      Queue      `yaml:"queue"`
	Reconciler Reconciler `yaml:"reconciler"`
	Evidence   Evidence   `yaml:"evidence"`
	Locations  []Location `yaml:"locations" validate:"min=1,dive"`
	// ExternalPrefixes are the beginnings of download URLs that lead to no file of certpurge's, such as those of a
	// credentials service, each ending with "/" and written like url_prefixes. Without an entry such a link is
	// unrecognised, and its user fails. Where the row has a download_uuid as well, there were files of certpurge's, and
	// they are expected in any location. After a change, submit requests for the users that enqueuer coverage lists.
	ExternalPrefixes []string `yaml:"external_prefixes" validate:"dive,url_prefix"`

	// ExternalLinks says what happens to links that begin with an external prefix: keep leaves them in the LMS, clear
	// clears them like all others. Either way the evidence says external, because nothing was erased.
	ExternalLinks string `yaml:"external_links" validate:"oneof=keep clear"`

	// SharedDirectories says what happens to a directory that a row of another user also names, or named when certpurge
	// last read the tables. With refuse nothing in it is deleted, the reference is kept, and the request fails as
	// shared_directory: a row with a wrong link must not delete the files of another learner. The worker reads all
	// certificates once before it pulls tasks. With accept such directories are erased like all others. Single requests
	// are accepted with enqueuer requeue --accept-shared.
	SharedDirectories string `yaml:"shared_directories" validate:"oneof=refuse accept"`

	GCS     GCS     `yaml:"gcs"`
	Admin   Admin   `yaml:"admin"`
	Tracing Tracing `yaml:"tracing"`
}

// DefaultWorker returns the configuration of a worker whose file is empty. It is not yet valid: the operator
// must give the DSN and the locations.
func DefaultWorker() Worker {
	shared := DefaultEnqueuer()
	return Worker{
		Log:   shared.Log,
		MySQL: shared.MySQL,
		LMS:   shared.LMS,
		Redis: shared.Redis,
		Tasks: shared.Tasks,
		Queue: Queue{
			Concurrency:  50,
			Weights:      Weights{Purge: 6, Backfill: 1},
			MaxAttempts:  25,
			RetryBase:    5 * time.Second,
			RetryCap:     time.Hour,
			DrainTimeout: 20 * time.Second,
			MaxAge:       7 * 24 * time.Hour,
		},
		ExternalPrefixes:  []string{},
		ExternalLinks:     "keep",
		SharedDirectories: "refuse",
		Reconciler:        Reconciler{Interval: 30 * time.Second, Grace: 2 * time.Minute, Rate: 500, HighWater: 50_000},
		Evidence:          Evidence{AnchorInterval: 5 * time.Minute},
		GCS: GCS{
			CallTimeout:      30 * time.Second,
			MaxTries:         4,
			MaxInFlight:      64,
			MaxGenerations:   1_000,
			MaxListingBytes:  16 << 20,
			DeleteRate:       Rate{Start: 1000, Ceiling: 4000},
			ReadRate:         Rate{Start: 5000, Ceiling: 20_000},
			AttributesMaxAge: time.Minute,
		},
		Admin:   defaultAdmin("127.0.0.1:8081"),
		Tracing: shared.Tracing,
	}
}

// Policy returns what the operator has decided about purges. It is made here, and not in the package that obeys it,
// because internal/purge uses the standard library only.
func (w *Worker) Policy() purge.Policy {
	policy := w.LMS.Policy()
	policy.AcceptSoftDelete = w.GCS.AcceptSoftDelete
	policy.ClearExternal, policy.AcceptShared = w.ExternalLinks == "clear", w.SharedDirectories == "accept"
	policy.MaxAttempts, policy.MaxAge = w.Queue.MaxAttempts, w.Queue.MaxAge
	return policy
}

// defaultAdmin returns the same for both binaries but for the address, because they may run on one machine.
func defaultAdmin(listen string) Admin {
	return Admin{Listen: listen, Proxy: AdminProxy{
		Addresses: []string{}, UserHeader: "X-Forwarded-User", GroupsHeader: "X-Forwarded-Groups", ViewGroups: []string{},
		OperateGroups: []string{},
	}}
}

// DefaultLocation returns what an entry of the list of locations starts from.
func DefaultLocation() Location {
	return Location{
		DownloadsDir: "downloads", VerifyDir: "cert", Signed: true, AllowEmpty: "false",
		MissingFiles: MissingFiles{Downloads: "refuse", Verification: "refuse"},
	}
}

// LoadWorker reads the worker's configuration from the file at path, if path is not empty, and from environ, a list of
// NAME=value as [os.Environ] gives it. Its error is an [*Error].
func LoadWorker(path string, environ []string) (Worker, error) {
	cfg := DefaultWorker()
	if err := load(&cfg, path, environ); err != nil {
		return Worker{}, err
	}
	return cfg, nil
}

// LoadWorkerWithoutLocations is LoadWorker for commands that find out the locations: the list may be empty.
func LoadWorkerWithoutLocations(path string, environ []string) (Worker, error) {
	cfg := DefaultWorker()
	if err := load(&cfg, path, environ, "locations"); err != nil {
		return Worker{}, err
	}
	return cfg, nil
}
