package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/gcs"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/survey"
)

func newPlanCommand(s cli.Streams, path *string) *cobra.Command {
	var o planOptions
	cmd := &cobra.Command{
		Use:   "plan [USER_ID]…",
		Short: "Show what a purge would erase, keep and clear; changes nothing",
		Long: `plan runs the code of a purge against the LMS database and the buckets as they
are now, with a ledger and a store that write nothing: not to the ledger, not
to Redis, not to a bucket. For each user it shows whether they may be purged,
how each reference is understood, what lies in each directory with its size,
date and protection, what would be erased, kept and cleared, and the state in
which the request would end. If the user has an open request, what was accepted
for it counts.

A user who is not retiring is shown as refused, with nothing below. With
--certificate, only what belongs to that certificate is shown; its user is
looked up, or must be the one that is given.

` + cli.Exits{
			cli.ExitOK:      "every user would be done, with nothing missing",
			cli.ExitUsage:   "bad input, or the LMS does not have the user",
			cli.ExitNotDone: "a user would not be done, or done with files missing", cli.ExitUnavailable: "",
			cli.ExitConfiguration: "",
		}.String(),
		Example: `  worker plan 42
  worker plan --certificate 1234 -o json | jq .state
  worker plan 42 --accept-missing`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return plan(cmd.Context(), s, *path, args, o)
		},
	}
	cmd.Flags().StringSliceVar(&o.certificates, "certificate", nil,
		"plan the purge of this certificate `ID` only; may be repeated")
	cmd.Flags().BoolVar(&o.acceptMissing, "accept-missing", false, "as if an operator had accepted that files are missing")
	cmd.Flags().BoolVar(&o.acceptShared, "accept-shared", false,
		"as if an operator had accepted directories that a row of another user names")
	o.format = cli.FormatFlag(cmd)
	return cmd
}

type planOptions struct {
	certificates                []string
	acceptMissing, acceptShared bool
	format                      *cli.Format
}

// reading holds what read-only commands open.
type reading struct {
	store   *mysql.Store
	objects *gcs.Store
	purger  purge.Purger // without a ledger
	cfg     config.Worker
}

// openToRead opens the databases and the buckets, and checks the rights on both and the settings of the buckets.
func openToRead(ctx context.Context, s cli.Streams, path string) (*reading, error) {
	cfg, locations, err := load(path, s.Environ)
	if err != nil {
		return nil, err
	}
	store, err := cli.OpenStore(cfg.MySQL, cfg.LMS)
	if err != nil {
		return nil, err
	}
	r := &reading{store: store, cfg: cfg}
	r.objects, err = gcs.Open(ctx, gcs.Config{GCS: cfg.GCS, Locations: locations, Environ: s.Environ})
	if err != nil {
		r.close()
		return nil, err
	}
	r.purger = purge.Purger{Users: store, Objects: r.objects, Locations: locations, Policy: cfg.Policy(), Now: time.Now}
	if err := store.CheckRead(ctx); err != nil {
		r.close()
		return nil, cli.Unavailable(err)
	}
	if _, err := r.objects.Probe(ctx); err != nil {
		r.close()
		return nil, cli.Unavailable(err)
	}
	return r, nil
}

func (r *reading) close() {
	if r.objects != nil {
		_ = r.objects.Close() // nothing was written
	}
	_ = r.store.Close()
}

// softDelete is how long a bucket keeps deleted objects restorable, as it was read last.
func (r *reading) softDelete(bucket string) time.Duration {
	for _, settings := range r.objects.Settings() {
		if settings.Bucket == bucket {
			return settings.SoftDelete
		}
	}
	return 0
}

func plan(ctx context.Context, s cli.Streams, path string, args []string, o planOptions) error {
	scopes, err := parseScopes(args, o.certificates)
	if err != nil {
		return err
	}
	r, err := openToRead(ctx, s, path)
	if err != nil {
		return err
	}
	defer r.close()
	if len(o.certificates) > 0 {
		if scopes, err = r.ownersOf(ctx, scopes); err != nil {
			return err
		}
	}
	var unknown []string
	notDone := 0
	for _, scope := range scopes {
		p, err := r.plan(ctx, scope, o)
		if err != nil {
			return cli.Unavailable(err)
		}
		if *o.format == "json" {
			err = cli.PrintJSON(s.Out, p)
		} else {
			p.print(s)
		}
		switch {
		case err != nil:
			return err
		case p.Reason == purge.ReasonUnknownUser:
			unknown = append(unknown, fmt.Sprint(p.UserID))
		case p.State != purge.Done || p.Reason == purge.ReasonFilesMissing:
			notDone++
		}
	}
	switch {
	case len(unknown) > 0:
		return cli.Usage("the LMS has no user %s (expected the numeric id, auth_user.id)", strings.Join(unknown, ", "))
	case notDone > 0:
		return cli.Errorf(cli.ExitNotDone, "%d of %d would not be done, or would be done with files missing",
			notDone, len(scopes))
	default:
		return nil
	}
}

// parseScopes reads the ids of users or certificates. The user of a certificate is the one that is given, or 0 if none
// is: ownersOf looks it up.
func parseScopes(users, certificates []string) ([]purge.Task, error) {
	var scopes []purge.Task
	for _, text := range users {
		user, err := purge.ParseUserID(text)
		if err != nil {
			return nil, cli.Usage("%w", err)
		}
		scopes = append(scopes, purge.Task{User: user})
	}
	switch {
	case len(certificates) == 0 && len(users) == 0:
		return nil, cli.Usage("expected ids of users, or --certificate (see worker plan --help)")
	case len(certificates) == 0:
		return scopes, nil
	case len(users) > 1:
		return nil, cli.Usage("expected one user, or none, beside --certificate")
	}
	var user purge.UserID
	if len(users) == 1 {
		user = scopes[0].User
	}
	scopes = nil
	for _, text := range certificates {
		certificate, err := purge.ParseCertificateID(text)
		if err != nil {
			return nil, cli.Usage("--certificate: %w", err)
		}
		scopes = append(scopes, purge.Task{User: user, Certificate: certificate})
	}
	return scopes, nil
}

// ownersOf looks up the users of certificates.
func (r *reading) ownersOf(ctx context.Context, scopes []purge.Task) ([]purge.Task, error) {
	ids := make([]purge.CertificateID, len(scopes))
	for i, scope := range scopes {
		ids[i] = scope.Certificate
	}
	owners, err := r.store.Owners(ctx, ids)
	if err != nil {
		return nil, cli.Unavailable(err)
	}
	for i, scope := range scopes {
		owner, known := owners[scope.Certificate]
		switch {
		case !known:
			return nil, cli.Usage("--certificate %d: the LMS does not have it, or no longer knows its user", scope.Certificate)
		case scope.User != 0 && scope.User != owner:
			return nil, cli.Usage("--certificate %d belongs to user %d, not to user %d", scope.Certificate, owner, scope.User)
		}
		scopes[i].User = owner
	}
	return scopes, nil
}

func (r *reading) plan(ctx context.Context, task purge.Task, o planOptions) (planned, error) {
	attempt := purge.Attempt{Task: task, Number: 1, State: purge.Running, OpenedAt: time.Now()}
	requests, err := r.store.RequestsAfter(ctx, mysql.Filter{
		User:   task.User,
		States: []purge.State{purge.Queued, purge.Running},
	}, 0, 1000)
	if err != nil {
		return planned{}, err
	}
	var open *mysql.Request
	if i := slices.IndexFunc(requests, func(r mysql.Request) bool { return r.CertificateID == task.Certificate }); i >= 0 {
		open = &requests[i]
		attempt.AcceptMissing, attempt.AcceptShared = open.AcceptMissingBy, open.AcceptSharedBy
	}
	if o.acceptMissing {
		attempt.AcceptMissing = cmp.Or(attempt.AcceptMissing, "--accept-missing")
	}
	if o.acceptShared {
		attempt.AcceptShared = cmp.Or(attempt.AcceptShared, "--accept-shared")
	}
	preview, err := r.purger.Preview(ctx, attempt, r.store, r.softDelete)
	if err != nil {
		return planned{}, err
	}
	if preview.Reason == purge.ReasonMisconfigured {
		return planned{}, &purge.Error{Class: purge.Misconfigured, Text: preview.Detail}
	}
	return newPlanned(preview, open), nil
}

// planned is a preview as it is printed: numbers, names of buckets and objects, no links.
type planned struct {
	UserID          purge.UserID        `json:"user_id"`
	CertificateID   purge.CertificateID `json:"certificate_id,omitempty"`
	Exists          bool                `json:"exists"`
	Requested       bool                `json:"retirement_requested"`
	RetirementState string              `json:"retirement_state,omitempty"`
	OpenRequest     purge.RequestID     `json:"open_request_id,omitempty"`
	State           purge.State         `json:"state"` // in which the request would end
	Reason          purge.Reason        `json:"reason,omitempty"`
	Detail          string              `json:"detail,omitempty"`
	NotBefore       *time.Time          `json:"not_before,omitempty"`
	ObjectsErased   int                 `json:"objects_erased"` // also those that can be restored for a while
	BytesErased     int64               `json:"bytes_erased"`
	ObjectsKept     int                 `json:"objects_kept"`
	Cleared         int                 `json:"references_cleared"`
	Kept            int                 `json:"references_kept"`
	References      []plannedReference  `json:"references"`
	Directories     []plannedDirectory  `json:"directories"`
}

type plannedReference struct {
	CertificateID purge.CertificateID `json:"certificate_id"`
	Table         purge.Table         `json:"table"`
	RowID         int64               `json:"row_id"`
	Locations     []string            `json:"locations"`
	External      bool                `json:"external,omitempty"`
	Cleared       bool                `json:"cleared"`
	Kept          string              `json:"kept_because,omitempty"`
	Directories   []string            `json:"directories"` // gs:// URLs
}

type plannedDirectory struct {
	Bucket        string              `json:"bucket"`
	Directory     string              `json:"directory"`
	Kind          purge.Kind          `json:"kind"`
	CertificateID purge.CertificateID `json:"certificate_id"`
	EmptiedBefore bool                `json:"emptied_before,omitempty"`
	Outcome       purge.Outcome       `json:"outcome,omitempty"`
	AcceptedBy    string              `json:"accepted_by,omitempty"`
	Problem       string              `json:"problem,omitempty"`
	Objects       []plannedObject     `json:"objects"`
}

type plannedObject struct {
	Name          string        `json:"object"`
	Generation    int64         `json:"generation"`
	Size          int64         `json:"size"`
	Created       *time.Time    `json:"created,omitempty"`
	Held          bool          `json:"held,omitempty"`
	RetainedUntil *time.Time    `json:"retained_until,omitempty"`
	Outcome       purge.Outcome `json:"outcome"`
	Until         *time.Time    `json:"until,omitempty"`
}

func newPlanned(p purge.Preview, open *mysql.Request) planned {
	all := planned{
		UserID: p.Attempt.User, CertificateID: p.Attempt.Certificate, Exists: p.User.Retirement.UserExists,
		Requested: p.User.Retirement.Requested, RetirementState: p.User.Retirement.State,
		State: p.State, Reason: p.Reason, Detail: p.Detail, NotBefore: optional(p.NotBefore),
		References: []plannedReference{}, Directories: []plannedDirectory{},
	}
	if open != nil {
		all.OpenRequest = open.ID
	}
	for _, r := range p.References {
		names := []string{}
		for _, d := range r.Directories {
			names = append(names, url(d))
		}
		all.References = append(all.References, plannedReference{
			CertificateID: r.CertificateID, Table: r.Table, RowID: r.RowID, Locations: append([]string{}, r.Locations...),
			External: r.External,
			Cleared:  r.Cleared, Kept: r.Kept, Directories: names,
		})
		if r.Cleared {
			all.Cleared++
		} else {
			all.Kept++
		}
	}
	for _, d := range p.Directories {
		dir := plannedDirectory{
			Bucket: d.Bucket, Directory: d.Prefix, Kind: d.Kind, CertificateID: d.Certificate, EmptiedBefore: d.Emptied,
			Outcome:    d.Outcome,
			AcceptedBy: d.AcceptedBy, Problem: d.Problem, Objects: []plannedObject{},
		}
		for _, o := range d.Objects {
			dir.Objects = append(dir.Objects, plannedObject{
				Name: o.Name, Generation: o.Number, Size: o.Size, Created: optional(o.Created), Held: o.Held,
				RetainedUntil: optional(o.RetainedUntil), Outcome: o.Outcome, Until: optional(o.Until),
			})
			if o.Outcome == purge.Erased || o.Outcome == purge.SoftDeleted {
				all.ObjectsErased++
				all.BytesErased += o.Size
			} else {
				all.ObjectsKept++
			}
		}
		all.Directories = append(all.Directories, dir)
	}
	return all
}

func url(d purge.Directory) string { return "gs://" + d.Bucket + "/" + d.Prefix }

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC())
}

// print shows the plan as a tree: user, certificates, rows and directories, objects.
func (p planned) print(s cli.Streams) {
	w := s.Out
	of := ""
	if p.CertificateID != 0 {
		of = fmt.Sprintf(", certificate %d", p.CertificateID)
	}
	reason := ""
	if p.Reason != purge.ReasonNone {
		reason = ": " + string(p.Reason)
	}
	verb := "would end as"
	if !p.State.Ended() {
		verb = "would stay"
	}
	cli.Printf(w, "user %d%s %s %s%s\n", p.UserID, of, verb, s.Paint(string(p.State)), reason)
	switch {
	case !p.Exists:
		fmt.Fprintln(w, "  the LMS has no such user")
	case !p.Requested:
		fmt.Fprintln(w, "  no retirement request")
	default:
		cli.Printf(w, "  retirement state %s\n", cmp.Or(p.RetirementState, "none: the status row is gone"))
	}
	if p.OpenRequest != 0 {
		cli.Printf(w, "  request %d is open\n", p.OpenRequest)
	}
	if p.Detail != "" {
		cli.Printf(w, "  %s\n", p.Detail)
	}
	if len(p.References) > 0 {
		cli.Printf(w, "  %s erased (%s), %s kept; %s cleared, %d kept\n", survey.Count(p.ObjectsErased, "object"),
			humanize.IBytes(uint64(p.BytesErased)), //nolint:gosec // a sum of sizes
			survey.Count(p.ObjectsKept, "object"), survey.Count(p.Cleared, "link"), p.Kept)
	}
	var certificates []purge.CertificateID
	for _, r := range p.References {
		if !slices.Contains(certificates, r.CertificateID) {
			certificates = append(certificates, r.CertificateID)
		}
	}
	for _, id := range certificates {
		cli.Printf(w, "  certificate %d\n", id)
		for _, r := range p.References {
			if r.CertificateID == id {
				r.print(w)
			}
		}
		for _, d := range p.Directories {
			if d.CertificateID == id {
				d.print(w)
			}
		}
	}
}

func (r plannedReference) print(w io.Writer) {
	where := "live row"
	if r.Table == purge.History {
		where = fmt.Sprintf("history row %d", r.RowID)
	}
	switch {
	case r.External:
		where += ", link of another service"
	case len(r.Locations) > 0:
		where += ", location " + strings.Join(r.Locations, " or ")
	}
	fate := "clear"
	if !r.Cleared {
		fate = "keep"
	}
	cli.Printf(w, "    %-6s %s\n", fate, where)
	if r.Kept != "" {
		cli.Printf(w, "           %s\n", r.Kept)
	}
}

func (d plannedDirectory) print(w io.Writer) {
	cli.Printf(w, "    %s\n", "gs://"+d.Bucket+"/"+d.Directory)
	kind := string(d.Kind)
	switch {
	case d.Problem != "":
		cli.Printf(w, "      %s: %s\n", kind, d.Problem)
	case len(d.Objects) == 0 && d.EmptiedBefore:
		cli.Printf(w, "      %s: empty, erased before\n", kind)
	case len(d.Objects) == 0 && d.AcceptedBy != "":
		cli.Printf(w, "      %s: empty (%s, accepted by %s)\n", kind, d.Outcome, d.AcceptedBy)
	case len(d.Objects) == 0:
		cli.Printf(w, "      %s: empty (%s)\n", kind, d.Outcome)
	}
	for _, o := range d.Objects {
		fate := map[purge.Outcome]string{
			purge.Erased: "erase", purge.SoftDeleted: "delete", purge.HeldBack: "keep", purge.KeptUntil: "keep",
		}[o.Outcome]
		created, note := "-", ""
		if o.Created != nil {
			created = o.Created.Format(time.DateOnly)
		}
		switch {
		case o.Outcome == purge.SoftDeleted:
			note = ", restorable until " + o.Until.Format(time.RFC3339)
			if o.Created == nil {
				note = ", deleted before" + note
			}
		case o.Held:
			note = ", held"
		case o.RetainedUntil != nil:
			note = ", retained until " + o.RetainedUntil.Format(time.RFC3339)
		}
		cli.Printf(w, "      %-6s %-24s %8s  %s%s\n", cmp.Or(fate, string(o.Outcome)), path.Base(o.Name),
			humanize.IBytes(uint64(o.Size)), created, note) //nolint:gosec // a size
	}
}
