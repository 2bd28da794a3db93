package dataset

import (
	"math/rand/v2"
	"strconv"

	"github.com/certpurge/certpurge/internal/purge"
)

// role is one kind of user.
type role struct {
	name      string
	many      int
	states    []string // of the retirement, taken in turn; empty: no status row
	requested bool
	retiring  bool
	enqueued  bool
	want      End
	give      func(b *builder, u *User, turn int) // adds the user's certificates; turn counts the users of the role
}

// The states in which nothing can be taken back any more: steps at work, steps done, the ends, and no status row, which
// is what is left of a user some time after the retirement.
var retiringStates = []string{
	"COMPLETE", "LOCKING_ACCOUNT", "LOCKING_COMPLETE", "COMPLETE", "RETIRING_FORUMS", "FORUMS_COMPLETE",
	"RETIRING_EMAIL_LISTS",
	"EMAIL_LISTS_COMPLETE", "", "RETIRING_ENROLLMENTS", "ENROLLMENTS_COMPLETE", "RETIRING_NOTES", "NOTES_COMPLETE",
	"RETIRING_LMS",
	"LMS_COMPLETE", "ERRORED", "",
}

var (
	done    = End{State: purge.Done}
	nothing = End{State: purge.Done, Reason: purge.ReasonNothingToPurge}
	refused = End{State: purge.Refused, Reason: purge.ReasonNotRetiring}
	held    = End{State: purge.Failed, Reason: purge.ReasonHeld}
	unknown = End{State: purge.Failed, Reason: purge.ReasonUnrecognised}
	shared  = End{State: purge.Failed, Reason: purge.ReasonShared}
	missing = End{State: purge.Failed, Reason: purge.ReasonFilesMissing}
	accepts = End{State: purge.Done, Reason: purge.ReasonFilesMissing}
	waiting = End{State: purge.Queued, Reason: purge.ReasonRetained}
)

const ordinaryRole = "retiring"

// retiring makes a role of users whom a purge is right for.
func retiring(name string, many int, want End, give func(*builder, *User, int)) role {
	return role{
		name: name, many: many, states: retiringStates, requested: true, retiring: true, enqueued: true,
		want: want, give: give,
	}
}

// roles are all kinds of users, with how many there are of each beside the given number of ordinary ones.
func roles(ordinary int) []role {
	return []role{
		retiring(ordinaryRole, ordinary, done, (*builder).ordinary),

		// Not to be touched.
		{name: "not retiring", many: max(20, ordinary/10), states: []string{""}, give: (*builder).bystander},
		{
			name: "not retiring, enqueued by mistake", many: 5, states: []string{""}, enqueued: true, want: refused,
			give: (*builder).ordinary,
		},
		{
			name: "may still cancel", many: 5, states: []string{"PENDING"}, requested: true, enqueued: true, want: refused,
			give: (*builder).ordinary,
		},
		{
			name: "retirement aborted", many: 3, states: []string{"ABORTED"}, requested: true, enqueued: true, want: refused,
			give: (*builder).ordinary,
		},

		// Nothing to do.
		retiring("no certificate", 2, nothing, func(*builder, *User, int) {}),
		retiring("web certificates only", 3, nothing, (*builder).webOnly),
		retiring("purged before", 2, nothing, (*builder).cleared),

		// Odd, but understood.
		retiring("no verification pages", 4, done, (*builder).unverified),
		retiring("regenerated", 4, done, (*builder).regenerated),
		retiring("revoked", 2, done, (*builder).revoked),
		retiring("certificate deleted", 2, done, (*builder).deleted),
		retiring("download_url empty", 4, done, (*builder).withoutURL),
		retiring("download_uuid empty", 2, done, (*builder).withoutID),
		retiring("two download ids", 2, done, (*builder).twoIDs),
		retiring("URL spelled differently", 3, done, (*builder).respelled),
		retiring("S3 era, versioned bucket", 6, done, (*builder).s3Era),
		retiring("further file", 2, done, (*builder).letter),
		retiring("similar names beside", 3, done, (*builder).neighbours),
		retiring("never signed", 2, done, (*builder).neverSigned),
		retiring("link of another service", 2, done, (*builder).external),
		retiring("link that is no URL", 4, done, (*builder).oddLink),

		// Files that are not where they should be: a directory that is empty proves nothing.
		retiring("files gone already", 2, missing, (*builder).absent),
		retiring("verification files elsewhere", 2, missing, (*builder).pagesElsewhere),
		retiring("bucket with other files", 2, missing, (*builder).wrongBucket),
		retiring("regenerated, history lost", 2, missing, (*builder).historyLost),
		retiring("second certificate elsewhere", 2, missing, (*builder).secondElsewhere),
		retiring("signed in other years", 3, accepts, (*builder).partlySigned),

		// Not to be erased, or not yet.
		retiring("file under a hold", 3, held, (*builder).held),
		retiring("foreign bucket", 2, unknown, (*builder).foreign),
		retiring("odd download id", 2, unknown, (*builder).oddID),
		retiring("one id in both columns", 2, unknown, (*builder).sameIDs),
		retiring("row of another user's certificate", 2, shared, (*builder).another),
		{name: "certificate in another user's row", many: 1, states: []string{""}, give: (*builder).copied},
		retiring("one directory, two retiring users", 2, shared, (*builder).common),
		retiring("file under retention", 2, waiting, (*builder).retained),
	}
}

// castOf lists one role for each user.
func castOf(ordinary int) []*role {
	var cast []*role
	for _, r := range roles(ordinary) {
		for range r.many {
			cast = append(cast, &r)
		}
	}
	return cast
}

// The invented learners. Every character exists in Latin-1, which the fonts of a PDF know without being embedded.
var (
	givenNames = []string{
		"Ada", "Ángela", "Björn", "Céline", "Dário", "Elif", "Françoise", "Gülay", "Håkon", "Inès", "Jörg", "Kamala",
		"León", "Máire", "Noël", "Óscar", "Perpétua", "Quinn", "René", "Søren", "Thérèse", "Ursula", "Víctor", "Wendelin",
		"Zoë",
	}
	familyNames = []string{
		"Abbågård", "Brückner", "Castaño", "D'Éon", "Eriksdóttir", "Fjællborg", "Güntürkün", "Hämäläinen", "Ibáñez",
		"Jägermark",
		"Kröger-Vélez", "Löwe", "Müllerström", "Núñez", "Østergård", "Peña & Söhne", "Quèvremont", "Rößler", "São Bento",
		"Tórnqvist",
		"Ugarteña", "Vänskä", "Wåhlgren", "Ygrène", "Zúñiga",
	}
)

// learner is who a certificate is made out to. Users share learners, so that a hundred thousand users do not need as
// many different files.
type learner struct {
	name  string
	files [contents][]byte
}

// learners makes one learner of every two names.
func learners(source *rand.ChaCha8) []*learner {
	var all []*learner
	for _, given := range givenNames {
		for _, family := range familyNames {
			l := &learner{name: given + " " + family}
			signature := armor(source)
			l.files = [contents][]byte{
				pdf:       certificatePDF(l.name),
				signed:    signature,
				validPage: validHTML(l.name, signature),
				howToPage: verifyHTML(l.name),
				stranger:  []byte("This file belongs to no certificate.\n"),
			}
			all = append(all, l)
		}
	}
	return all
}

func username(id int) string { return "learner" + strconv.Itoa(id) }
