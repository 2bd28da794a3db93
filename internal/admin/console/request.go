package console

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/certpurge/certpurge/internal/evidence"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// What a page shows of the evidence; enqueuer report has all of it.
const (
	maxCertificates = 50
	maxGenerations  = 50 // of one directory
)

// requestView is the page of one request.
type requestView struct {
	frame
	mysql.Request

	Advice       advice
	Timeline     []mysql.TimelineEntry
	Certificates []certificateView
	More         int // certificates that are not shown
	Buckets      []evidence.Bucket
	Whole        bool
	Again        bool // it can be queued again
	Command      string
}

// certificateView is the evidence about one certificate.
type certificateView struct {
	ID          purge.CertificateID
	Directories []directoryView
	Links       []mysql.EvidenceRecord
}

// directoryView is the evidence about one directory.
type directoryView struct {
	Bucket, Prefix string
	Generations    []mysql.EvidenceRecord // or the directory itself, if it held none
	More           int                    // generations that are not shown
	Listings       []evidence.Listing
}

func (c *Console) serveRequest(w http.ResponseWriter, r *http.Request) {
	n, err := parseRequestID(r.PathValue("id"))
	if err != nil {
		c.reject(w, r, err)
		return
	}
	rows, err := c.sources.Records.Requests(r.Context(), []purge.RequestID{n})
	if err != nil {
		c.fail(w, r, "Requests", err)
		return
	}
	if len(rows) == 0 {
		c.notFound(w, r, "The ledger has no request "+id(n)+".")
		return
	}
	detail, err := c.sources.Records.Detail(r.Context(), rows[0])
	if err != nil {
		c.fail(w, r, "Requests", err)
		return
	}
	v := requestView{
		frame: c.framed(r, "Requests", "Request "+id(n)), Request: rows[0], Timeline: detail.Timeline, Whole: detail.Whole,
		Buckets: bucketsOf(detail.Evidence), Again: requeueable(rows[0]),
		Command: "enqueuer requeue " + id(n) + " --execute",
	}
	switch {
	case !v.State.Ended():
		v.Advice = waits[v.Reason]
	case v.State == purge.Failed:
		v.Advice = failures[v.Reason]
	default:
		v.Advice = odd[v.Reason]
	}
	v.Certificates = certificatesOf(detail.Evidence)
	if n := len(v.Certificates); n > maxCertificates {
		v.Certificates, v.More = v.Certificates[:maxCertificates], n-maxCertificates
	}
	c.show(w, r, http.StatusOK, "request", v)
}

// certificatesOf makes a tree of the evidence: certificate, directory, generation.
func certificatesOf(records []mysql.EvidenceRecord) (all []certificateView) {
	at := map[purge.CertificateID]int{}
	of := func(id purge.CertificateID) *certificateView {
		i, known := at[id]
		if !known {
			i = len(all)
			at[id], all = i, append(all, certificateView{ID: id})
		}
		return &all[i]
	}
	for _, e := range records {
		view := of(e.CertificateID)
		if e.Kind == "links" || e.Bucket == "" {
			view.Links = append(view.Links, e)
			continue
		}
		i := slices.IndexFunc(view.Directories, func(d directoryView) bool {
			return d.Bucket == e.Bucket && d.Prefix == e.Directory.Prefix
		})
		if i < 0 {
			i = len(view.Directories)
			view.Directories = append(view.Directories, directoryView{Bucket: e.Bucket, Prefix: e.Directory.Prefix})
		}
		d := &view.Directories[i]
		if len(e.Listings) > 0 {
			d.Listings = e.Listings
		}
		if len(d.Generations) == maxGenerations {
			d.More++
			continue
		}
		d.Generations = append(d.Generations, e)
	}
	slices.SortStableFunc(all, func(a, b certificateView) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// bucketsOf are the settings of the buckets as they were read for the latest attempt that settled something.
func bucketsOf(records []mysql.EvidenceRecord) (all []evidence.Bucket) {
	for _, e := range slices.Backward(records) {
		known := func(b evidence.Bucket) bool { return b.Name == e.Settings.Name }
		if e.Settings != nil && !slices.ContainsFunc(all, known) {
			all = append(all, *e.Settings)
		}
	}
	slices.SortFunc(all, func(a, b evidence.Bucket) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// below is the part of an object's name behind its directory.
func below(e mysql.EvidenceRecord) string { return strings.TrimPrefix(e.Name, e.Directory.Prefix) }
