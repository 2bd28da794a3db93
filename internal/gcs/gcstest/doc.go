// Package gcstest is an in-memory emulator of the part of the Google Cloud Storage JSON API that deleting objects
// needs. Tests, the demo and the benchmarks run the real client library against it, over real HTTP.
//
// It exists because no other emulator distinguishes an object that is gone from one that only looks gone: a noncurrent
// generation, a soft-deleted copy, a held or retained object, a missing bucket, a proxy's page. Those differences
// decide whether a reference may be cleared, so here they are emulated exactly, with the service's own wording:
//
//   - 204 for a delete; in a versioned bucket a delete without generation= only makes the live object noncurrent, and
//     suspending versioning leaves the noncurrent generations in place;
//   - soft delete with the policy that was in force at the time of the delete, holds, bucket and object retention;
//   - 404, 403, 400 and 412 bodies, as measured on the real service unless a comment says otherwise, conditions before
//     holds and retention;
//   - a replayed x-goog-gcs-idempotency-token answers as the first attempt did, for two minutes;
//   - strongly consistent listings in name order, paged, with generations as JSON strings and partial responses
//     (fields=);
//   - changes of objects and buckets (PATCH): holds, retention, metadata; versioning, soft delete, retention, the
//     default hold;
//   - folders and managed folders, which no listing shows unless asked and which stay when their objects go;
//   - pages without items, with a token ([Server.SetEmptyPages]);
//   - batch requests, whose calls meet the same faults as calls that come alone, or none at all ([WithoutBatches]).
//
// The way in for a client is [Server.Start] or any http.Server, since [Server] is an http.Handler. The way in for a
// test is the back door: [Server.Put] seeds, [Server.Objects] shows everything that is stored, also what no listing
// shows. [Server.AddFault] makes chosen requests fail in the ways networks and proxies do, and [Server.SetHook] lets a
// test change the world between two requests of the code under test.
//
// # What it does not do
//
// It knows no credentials and no IAM beyond [Server.Deny]; every caller has the same name. Settings and permissions
// apply at once, where the service may take 30 seconds or a minute. It has no glob, no filter and no endOffset in
// listings, no upload, no checksums, no copy, compose, restore or XML multi-delete: such a request is
// refused with 400 and the reason notEmulated, never answered wrongly. Idempotency tokens count for deletes only. There
// is no XML API, by which the Go client reads objects. Objects live in memory, one process long.
package gcstest
