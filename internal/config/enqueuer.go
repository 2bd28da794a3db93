package config

import "time"

// Enqueuer is the configuration of the enqueuer: what it needs to record requests and put their tasks into the queue.
type Enqueuer struct {
	Log      Log          `yaml:"log"`
	MySQL    MySQL        `yaml:"mysql"`
	LMS      LMS          `yaml:"lms"`
	Redis    Redis        `yaml:"redis"`
	Tasks    Tasks        `yaml:"tasks"`
	Evidence Certificates `yaml:"evidence"`
	Serve    Serve        `yaml:"serve"`
	JWT      JWT          `yaml:"jwt"`
	Tokens   []Token      `yaml:"tokens" validate:"dive"`
	Watch    Watch        `yaml:"watch"`
	Notify   Notify       `yaml:"notify"`
	Admin    Admin        `yaml:"admin"`
	Tracing  Tracing      `yaml:"tracing"`
}

// DefaultEnqueuer returns the configuration of an enqueuer whose file is empty. It is not yet valid: the
// operator must give the DSN.
func DefaultEnqueuer() Enqueuer {
	return Enqueuer{
		Log: Log{Level: "info", Format: "auto"},
		MySQL: MySQL{
			MaxOpenConnections: 32,
			ConnectTimeout:     10 * time.Second,
			QueryTimeout:       30 * time.Second,
			Batch:              16,
		},
		LMS: LMS{
			Database:       "openedx",
			ExcludedStates: []string{"PENDING", "ABORTED"},
			ClearHistory:   true,
		},
		Redis: Redis{URL: NewSecret("redis://127.0.0.1:6379/0")},
		Tasks: Tasks{Timeout: 3 * time.Minute, Retention: 15 * time.Minute},
		Serve: Serve{
			Listen: "127.0.0.1:8080", Hold: 25 * time.Second, MaxHeld: 2000, KeepKeys: 30 * 24 * time.Hour, MaxBody: 1 << 20,
			ReadTimeout:  30 * time.Second,
			DrainTimeout: 20 * time.Second,
		},
		Watch: Watch{
			Interval: 5 * time.Minute, CoolOffDays: 7, MaxUsersPerRound: 1000, HighWater: 10_000, AskAgainAfter: time.Hour,
		},
		Notify: Notify{
			Events: []string{"request.ended", "verdict.changed"}, Source: "certpurge", Timeout: 15 * time.Second,
			MaxAge: 7 * 24 * time.Hour,
		},
		JWT: JWT{
			JWKSRefresh: 10 * time.Minute, Audiences: []string{}, Issuers: []string{}, ServiceUser: "retirement_service_worker",
			MaxLifetime: 24 * time.Hour, Rate: 50, Burst: 100,
		},
		Tokens:  []Token{},
		Admin:   defaultAdmin("127.0.0.1:8082"),
		Tracing: Tracing{SampleRatio: 0.01},
	}
}

// LoadEnqueuer reads the enqueuer's configuration from the file at path, if path is not empty, and from environ, a list
// of NAME=value as [os.Environ] gives it. Its error is an [*Error].
func LoadEnqueuer(path string, environ []string) (Enqueuer, error) {
	cfg := DefaultEnqueuer()
	if err := load(&cfg, path, environ); err != nil {
		return Enqueuer{}, err
	}
	return cfg, nil
}
