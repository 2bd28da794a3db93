package dataset

import (
	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/purge"
)

// The buckets. The worker knows all but the last, which belongs to another site.
const (
	currentBucket = "example-edx-certificates"
	archiveBucket = "example-edx-certificates-archive"
	campusBucket  = "example-edx-campus"
	foreignBucket = "bucket-of-another-program"
)

// Buckets returns the names of all buckets of the site, those that are none of the worker's business included.
func Buckets() []string {
	return []string{currentBucket, archiveBucket, campusBucket, foreignBucket}
}

// settings of the buckets. Versioning keeps what was overwritten in the archive, out of sight of a plain listing.
var settings = map[string]gcstest.BucketConfig{
	currentBucket: {},
	archiveBucket: {Versioning: true},
	campusBucket:  {},
	foreignBucket: {},
}

const archivePrefix = "from-s3/"

// place is where files lie, and the URL under which the LMS knows the place.
type place struct {
	bucket, prefix, url string
}

var (
	cdn       = place{currentBucket, "", "https://certificates.example.com/"}
	public    = place{currentBucket, "", "https://storage.googleapis.com/" + currentBucket + "/"}
	pathStyle = place{archiveBucket, archivePrefix, "https://s3.amazonaws.com/example-verify/"}
	hostStyle = place{archiveBucket, archivePrefix, "https://example-verify.s3.amazonaws.com/"}
	relative  = place{archiveBucket, archivePrefix, "//s3.amazonaws.com/example-verify/"}
	// The settings name a bucket for it that holds other files: its own lie in the foreign one.
	campus = place{campusBucket, "", "https://campus.example.com/"}
	// Certificates were signed in some years only, and nowhere at all.
	early   = place{archiveBucket, "early/", "https://early.example.com/"}
	plain   = place{archiveBucket, "plain/", "https://plain.example.com/"}
	foreign = place{foreignBucket, "", "https://storage.googleapis.com/" + foreignBucket + "/"}
)

// eras are the forms of the S3 era; what they lead to was moved to the archive.
var eras = []place{pathStyle, hostStyle, relative}

// Locations is what the worker's configuration must hold to purge this site.
func Locations() []purge.Location {
	return []purge.Location{
		{
			Name: "current", Bucket: currentBucket, DownloadsDir: downloads, VerifyDir: verification, Signed: true,
			URLPrefixes: []string{cdn.url, "/"}, // that of the public bucket goes without saying
		},
		{
			Name: "s3-era", Bucket: archiveBucket, ObjectPrefix: archivePrefix, DownloadsDir: downloads, VerifyDir: verification,
			Signed: true, URLPrefixes: []string{pathStyle.url, hostStyle.url},
		},
		{
			Name: "campus", Bucket: campusBucket, DownloadsDir: downloads, VerifyDir: verification, Signed: true,
			URLPrefixes: []string{campus.url},
		},
		{
			Name: "early", Bucket: archiveBucket, ObjectPrefix: early.prefix, DownloadsDir: downloads, VerifyDir: verification,
			Signed: true, AcceptMissing: map[purge.Kind]bool{purge.Verification: true}, URLPrefixes: []string{early.url},
		},
		{
			Name: "plain", Bucket: archiveBucket, ObjectPrefix: plain.prefix, DownloadsDir: downloads, VerifyDir: verification,
			URLPrefixes: []string{plain.url},
		},
	}
}

// ExternalPrefixes are the beginnings of links that lead to no file of this site.
func ExternalPrefixes() []string { return []string{"https://credentials.example.net/"} }

// The directories and the name of edx-certificates.
const (
	downloads    = "downloads"
	verification = "cert"
	pdfName      = "Certificate.pdf"
)

func (p place) download(id string) string { return p.prefix + downloads + "/" + id + "/" }
func (p place) verify(id string) string   { return p.prefix + verification + "/" + id + "/" }
func (p place) link(id string) string     { return p.url + downloads + "/" + id + "/" + pdfName }
