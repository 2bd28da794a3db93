// Package purge is the domain of certpurge: it erases the legacy PDF certificates of one retiring user, proves that
// they are gone, and only then has the links to them cleared. It uses the standard library only; buckets, SQL and
// queues are behind the small interfaces that it declares.
//
// # Invariants
//
//  1. A reference outlives its files. It is cleared only after a successful listing, made in the same attempt, has
//     shown that no generation of any of its artifacts is left. A 404 is not proof, a 2xx is not proof.
//  2. Only retiring users. Eligibility is read from the LMS database when work begins and once more right before the
//     first delete.
//  3. Only this certificate's objects. Names are built from ids of 32 lower-case hexadecimal digits and end in "/";
//     buckets come from the configuration. An empty or odd id never becomes a prefix. A verify_uuid alone is no
//     reference. If a row of another user holds the id of a directory, or held it when it was last read, the directory
//     is neither listed nor deleted until the settings or an operator accept it.
//  4. Only two columns: download_uuid and download_url, in the live table and, unless switched off, in the history
//     table. Every UPDATE is guarded by the old values; no history row is written.
//  5. Nothing accepted is lost. A request is in the ledger before its task is in Redis, and ends as done, refused or
//     failed, with a reason.
//  6. Everything may happen twice, also at the same time, with the same end state.
//  7. No personal data leaves the LMS tables: numeric user ids only. Errors of this package and of its adapters carry
//     no user names, e-mail addresses or certificate URLs.
//  8. Erasure is reported honestly: soft delete, holds, retention and everything that could not be proven are outcomes
//     of their own. When in doubt: not erased, reference kept, reason shown. Absence is doubt: a directory that a
//     reference names, that is empty, and in which no file of the user was ever seen, may be somewhere else; its
//     reference is kept until the settings or an operator accept it.
//
// A request about orphans (OrphanSet) is about no user but about directories that an operator took from an inventory
// and reviewed. All invariants hold for it; in the second, "no reference anywhere in the LMS holds the id" replaces
// "only retiring users", checked when work begins and again after the intents are written, right before the first
// delete. It clears nothing. A directory with an object that is too young is left, because its link may not be written
// yet.
//
// # Order
//
// Objects first, then rows: a crash leaves work to redo, never a false "done". What is about to be deleted is recorded
// before the first delete (Ledger.Intend), so a worker that is killed between two deletes loses no evidence. No
// transaction is open during a request to a bucket.
//
// # The path of one request
//
// Each line names the file and the function where a step begins.
//
//	enqueuer/enqueue.go             enqueue         user ids become submissions
//	internal/purge/intake.go        Accept          first the ledger, then the queue
//	internal/mysql/accept.go        Accept          the request is written
//	internal/queue/enqueue.go       Enqueue         its task goes into Redis
//	worker/work.go                  work            the worker checks what it needs, then pulls tasks
//	internal/queue/handler.go       ProcessTask     payload in, outcome translated for the queue
//	internal/purge/purge.go         Purge           one attempt: claim, eligibility, references, listings, end
//	internal/purge/work.go          plan            what the attempt lists and deletes
//	internal/gcs/store.go           List            every generation; a listing that is not complete is an error
//	internal/mysql/certificates.go  User            eligibility and references
//	internal/mysql/ledger.go        Record          the one transaction that compares the rows, clears, records and ends
package purge
