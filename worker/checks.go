package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/doctor"
	"github.com/certpurge/certpurge/internal/gcs"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue/inspect"
	"github.com/certpurge/certpurge/internal/survey"
)

// checker tests everything that purges need. The worker runs it at its start and while it works; worker check prints
// the same list.
type checker struct {
	path      string // of the configuration
	cfg       config.Worker
	locations purge.Locations
	store     *mysql.Store
	redis     redis.UniversalClient
	objects   *gcs.Store
	// walk reads the LMS into the table of owners for the first time; nil for worker check, which only reads.
	walk func(context.Context) error
}

// check is one thing that purges need.
type check struct {
	name         string
	group        string // after a check of the same group has failed, this one is not made, unless it is independent
	needs        []string
	whileRunning bool // made again while the worker runs
	// independent means that it is made although another of its group has failed.
	independent bool
	run         func(context.Context) (answer, error)
	next        func(error) string // the command to type after a failure
}

// answer is what a check has seen. Warnings do not keep a worker from purging.
type answer struct {
	facts    string
	warnings []warning
}

type warning struct{ text, next string }

// The groups.
const (
	groupMySQL     = "MySQL"
	groupRedis     = "Redis"
	groupAccount   = "credentials"
	groupBuckets   = "buckets"
	groupLocations = "locations"
)

// all are the checks, in the order in which things are set up.
func (c *checker) all() []check {
	list := append(c.database(), c.queue()...)
	list = append(list, check{
		name: "credentials", group: groupAccount, next: nextCredentials,
		run: func(ctx context.Context) (answer, error) {
			account, err := c.objects.Account(ctx)
			if account.Name != "" {
				account.Found = account.Name + ", found by " + account.Found
			}
			return answer{facts: account.Found}, err
		},
	})
	for _, name := range c.locations.Buckets() {
		list = append(list, c.bucket(name))
	}
	list = append(list, check{
		name: "Storage clock", group: groupBuckets, needs: []string{groupAccount},
		run: c.serviceClock,
	})
	for _, l := range c.cfg.Locations {
		list = append(list, check{
			name: "location " + l.Name, group: groupLocations, needs: []string{groupAccount, groupBuckets}, independent: true,
			run: func(ctx context.Context) (answer, error) {
				return answer{facts: about(l)}, c.objects.CheckLocations(ctx, l.Name)
			},
			next: always(c.locationsCommand()),
		})
	}
	return append(list, check{
		name: "links", group: groupLocations, needs: []string{groupMySQL, groupAccount, groupBuckets}, independent: true,
		run: c.sample,
	})
}

// database are the checks of MySQL.
func (c *checker) database() []check {
	list := []check{{
		name: "MySQL", group: groupMySQL, whileRunning: true, next: c.nextMySQL,
		run: func(ctx context.Context) (answer, error) {
			server, err := c.store.Server(ctx)
			return answer{facts: server}, err
		},
	}}
	for _, part := range c.store.Checks(mysql.RoleWorker) {
		list = append(list, check{
			name: part.Name, group: groupMySQL, whileRunning: true, next: c.nextMySQL,
			run: func(ctx context.Context) (answer, error) { return answer{}, part.Run(ctx) },
		})
	}
	list = append(list,
		check{name: "rights", group: groupMySQL, run: c.excess},
		check{name: "MySQL clock", group: groupMySQL, run: func(ctx context.Context) (answer, error) {
			before := time.Now()
			theirs, err := c.store.Clock(ctx)
			return clock("MySQL", gcs.Reading{Before: before, Theirs: theirs, After: time.Now()}), err
		}})
	if c.cfg.SharedDirectories == "refuse" {
		list = append(list, check{name: "owners", group: groupMySQL, whileRunning: true, run: c.owners})
	}
	return list
}

// excess warns of rights that the account does not need.
func (c *checker) excess(ctx context.Context) (answer, error) {
	excess, err := c.store.ExcessRights(ctx, mysql.RoleWorker)
	if err != nil || len(excess) == 0 {
		return answer{facts: "no more than needed"}, err
	}
	return answer{warnings: []warning{{
		"the account may do more than it needs: " + strings.Join(excess, ", "), "mysql -u root -p < configs/mysql/grants.sql",
	}}}, nil
}

// owners checks that the table of owners is complete. A worker fills it before it pulls tasks.
func (c *checker) owners(ctx context.Context) (answer, error) {
	if c.walk != nil {
		if err := c.walk(ctx); err != nil {
			return answer{}, err
		}
	}
	err := c.store.CheckOwners(ctx)
	if c.walk == nil && purge.ClassOf(err) == purge.Unavailable {
		return answer{facts: "not read yet: the first worker reads all certificates once before it purges"}, nil
	}
	return answer{facts: "known"}, err
}

// queue are the checks of Redis.
func (c *checker) queue() []check {
	return []check{
		{
			name: "Redis", group: groupRedis, whileRunning: true, next: always(`redis-cli -u "$CERTPURGE_REDIS_URL" ping`),
			run: func(ctx context.Context) (answer, error) {
				return answer{facts: "takes tasks, scripts and subscriptions"}, inspect.CheckPull(ctx, c.redis)
			},
		},
		{name: "Redis settings", group: groupRedis, whileRunning: true, run: c.redisSettings},
	}
}

func (c *checker) redisSettings(ctx context.Context) (answer, error) {
	version := inspect.Version(ctx, c.redis)
	policy, persistence := inspect.EvictionPolicy(ctx, c.redis), inspect.Persistence(ctx, c.redis)
	var a answer
	for _, find := range doctor.Settings(version, policy) {
		a.warnings = append(a.warnings, warning{
			find.Text,
			`redis-cli -u "$CERTPURGE_REDIS_URL" config set maxmemory-policy noeviction`,
		})
	}
	var facts []string
	for _, fact := range []struct{ name, value string }{
		{"version", version},
		{"eviction", policy},
		{"persistence", persistence},
	} {
		if fact.value != "" {
			facts = append(facts, fact.name+" "+fact.value)
		}
	}
	a.facts = strings.Join(facts, ", ")
	if persistence == "none" {
		a.facts += " (after a restart, tasks come back from the ledger)"
	}
	return a, nil
}

// bucket is the check of one bucket.
func (c *checker) bucket(name string) check {
	return check{
		name: "bucket " + name, group: groupBuckets, needs: []string{groupAccount}, whileRunning: true, independent: true,
		run: func(ctx context.Context) (answer, error) {
			settings, err := c.objects.ProbeBucket(ctx, name)
			if err != nil {
				return answer{}, err
			}
			return answer{facts: meaning(settings)}, nil
		},
		next: func(err error) string { return nextBucket(name, err) },
	}
}

// meaning says what a bucket's settings mean for an erasure.
func meaning(s purge.BucketSettings) string {
	parts := []string{"the three rights are there", "nothing deleted can be restored"}
	switch {
	case s.SoftDeleteUnknown:
		parts[1] = "soft delete unknown: the bucket does not say"
	case s.SoftDelete > 0:
		parts[1] = fmt.Sprintf("deleted files can be restored for %v, which gcs.accept_soft_delete accepts", s.SoftDelete)
	}
	if s.Versioning {
		parts = append(parts, "versions are kept, and all of them are erased")
	}
	if s.Retention > 0 {
		parts = append(parts, fmt.Sprintf("files younger than %v cannot be deleted, their requests wait", s.Retention))
	}
	if s.RequesterPays {
		parts = append(parts, "gcs.user_project pays")
	}
	return strings.Join(parts, "; ")
}

// about says where a location has its directories.
func about(l config.Location) string {
	at := "gs://" + l.Bucket + "/" + l.ObjectPrefix
	text := at + l.DownloadsDir + "/ and " + l.VerifyDir + "/ hold files"
	switch {
	case l.AllowEmpty == "true" || !l.Signed && l.AllowEmpty == "downloads":
		return "not asked: allow_empty is " + l.AllowEmpty
	case l.AllowEmpty == "downloads":
		return at + l.VerifyDir + "/ holds files; downloads_dir may be empty (allow_empty)"
	case !l.Signed:
		return at + l.DownloadsDir + "/ holds files; not signed"
	case l.AllowEmpty == "verification":
		return at + l.DownloadsDir + "/ holds files; verify_dir may be empty (allow_empty)"
	}
	return text
}

// serviceClock compares this machine's clock with the dates of the service's answers.
func (c *checker) serviceClock(context.Context) (answer, error) {
	reading, ok := c.objects.Clock()
	if !ok {
		return answer{facts: "not known: no answer had a date"}, nil
	}
	return clock("Cloud Storage", reading), nil
}

func clock(server string, r gcs.Reading) answer {
	if find, differs := doctor.CompareClocks(server, r.Before, r.Theirs, r.After); differs {
		return answer{warnings: []warning{{find.Text, "timedatectl status"}}}
	}
	return answer{facts: "agrees with this machine's"}
}

const (
	// samplePlaces is in how many places of the LMS's tables links are read.
	samplePlaces = 10
	// sampleSize is how many certificates of each location are looked for.
	sampleSize = 5
)

// sample looks for some certificates of each location. It is no proof of anything, so it only warns.
func (c *checker) sample(ctx context.Context) (answer, error) {
	look := survey.Survey{Database: c.store, Objects: c.objects}
	type tally struct {
		certificates            int
		downloads, verification survey.Tally
	}
	tallies, links, foreign := map[string]*tally{}, 0, 0
	type chosen struct {
		user purge.UserID
		u    purge.Understanding
	}
	var sample []chosen
	err := c.store.SampleReferences(ctx, samplePlaces, func(user purge.UserID, ref purge.Reference) error {
		u := c.locations.Understand(ref)
		links++
		if u.Taker == purge.TakenByNone {
			foreign++
		}
		if u.Taker != purge.TakenByLocation || u.Problem != "" {
			return nil
		}
		t := tallies[u.Location.Name]
		if t == nil {
			t = &tally{}
			tallies[u.Location.Name] = t
		}
		if t.certificates < sampleSize {
			t.certificates++
			sample = append(sample, chosen{user, u})
		}
		return nil
	})
	for _, s := range sample {
		if err != nil {
			break
		}
		var downloads, verification survey.Tally
		if downloads, verification, err = look.Look(ctx, s.user, s.u.Target); err == nil {
			t := tallies[s.u.Location.Name]
			t.downloads.Add(downloads)
			t.verification.Add(verification)
		}
	}
	next := c.locationsCommand()
	if err != nil {
		text := "no sample could be searched: " + err.Error()
		return answer{warnings: []warning{{text, next}}}, nil //nolint:nilerr // a warning
	}
	a := answer{facts: survey.Count(links, "link") + " sampled"}
	if foreign > 0 {
		a.warnings = append(a.warnings, warning{fmt.Sprintf("no location takes %d of %s that were sampled: requests of "+
			"their users fail",
			foreign, survey.Count(links, "link")), next})
	}
	for _, l := range c.cfg.Locations {
		t := tallies[l.Name]
		if t == nil {
			continue
		}
		for kind, found := range map[string]survey.Tally{"PDF": t.downloads, "verification file": t.verification} {
			if found.Expected > 0 && found.Found == 0 && found.Erased == 0 {
				a.warnings = append(a.warnings, warning{fmt.Sprintf("location %s: of %s that were sampled, none has a %s", l.Name,
					survey.Count(t.certificates, "certificate"), kind), next})
			}
		}
		a.facts += fmt.Sprintf("; %s: PDF %d/%d, verification %d/%d", l.Name, t.downloads.Found, t.downloads.Expected,
			t.verification.Found, t.verification.Expected)
	}
	slices.SortFunc(a.warnings, func(x, y warning) int { return strings.Compare(x.text, y.text) })
	return a, nil
}

// runChecks makes the checks in order, as the worker does, and stops after the group of the first failure. With
// whileRunning it makes only those that may change while the worker runs.
func (c *checker) runChecks(ctx context.Context, whileRunning bool, warn func(name string, w warning)) error {
	var errs []error
	failed := ""
	for _, check := range c.all() {
		if failed != "" && check.group != failed {
			break
		}
		if whileRunning && !check.whileRunning || failed != "" && !check.independent {
			continue
		}
		a, err := check.run(ctx)
		for _, w := range a.warnings {
			warn(check.name, w)
		}
		if err != nil {
			failed = check.group
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// locationsCommand is the command that explains locations and links.
func (c *checker) locationsCommand() string {
	if c.path == "" {
		return "worker locations"
	}
	return "worker --config " + c.path + " locations"
}

// always is the same command after every failure.
func always(command string) func(error) string { return func(error) string { return command } }

// nextMySQL is what to do about MySQL.
func (c *checker) nextMySQL(err error) string {
	server := serverOf(c.cfg.MySQL.DSN.Reveal())
	switch text := err.Error(); {
	case strings.Contains(text, "enqueuer migrate") && !strings.Contains(text, "grants.sql"):
		return "CERTPURGE_MYSQL_DSN='certpurge_migrate:PASSWORD@" + server + "' enqueuer migrate"
	case purge.ClassOf(err) == purge.Misconfigured:
		return "mysql -u root -p < configs/mysql/grants.sql, then enqueuer migrate"
	default:
		return "mysql -h HOST -u certpurge_worker -p certpurge"
	}
}

// serverOf is a DSN without account and password.
func serverOf(dsn string) string { return dsn[strings.LastIndexByte(dsn, '@')+1:] }

func nextCredentials(error) string {
	return "gcloud iam service-accounts list, then docs/install.md#bucket; for a first look, gcloud auth " +
		"application-default login"
}

// nextBucket is what to do about a bucket.
func nextBucket(name string, err error) string {
	switch text := err.Error(); {
	case strings.Contains(text, "soft delete"):
		return "gcloud storage buckets update gs://" + name + " --clear-soft-delete"
	case strings.Contains(text, "lacks") || strings.Contains(text, "answer 403"):
		return "gcloud storage buckets add-iam-policy-binding gs://" + name +
			" --member=serviceAccount:ACCOUNT --role=projects/PROJECT/roles/certpurge"
	default:
		return "gcloud storage buckets describe gs://" + name
	}
}
