// Package gcs is the only home of the Google Cloud Storage client. It lists directories with all generations, deletes
// single generations, and says what an answer means for the request.
//
// It believes no answer that it cannot prove: a 404 of a delete may be a missing bucket, a 200 may come from a proxy,
// so only a complete listing, checked to be one, says what is there. It never deletes by prefix, never deletes without
// a generation, and never releases a hold.
package gcs
