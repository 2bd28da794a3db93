package dataset

import "strings"

// absent gives two certificates whose files are gone, all or some, before the purge. Their references are kept.
func (b *builder) absent(u *User, turn int) {
	b.ordinary(u, turn)
	b.live(u, b.reference(cdn), heldBack)
	half := b.reference(cdn)
	b.live(u, half, heldBack)
	b.file(u, cdn, cdn.verify(half.verify)+"valid.html", validPage, goes)
}

// pagesElsewhere gives a certificate whose verification files lie in another directory than verify_dir says.
func (b *builder) pagesElsewhere(u *User, turn int) {
	b.ordinary(u, turn)
	ref := b.reference(cdn)
	id := b.live(u, ref, heldBack)
	b.past(u, id, ref, "~", heldBack)
	b.file(u, cdn, cdn.download(ref.download)+pdfName, pdf, goes)
	for _, name := range []string{pdfName + ".sig", "valid.html", "verify.html"} {
		b.file(u, cdn, "verify/"+ref.verify+"/"+name, validPage, stays)
	}
}

// wrongBucket gives a certificate under a location whose bucket holds other files.
func (b *builder) wrongBucket(u *User, turn int) {
	b.ordinary(u, turn)
	ref := b.reference(campus)
	b.live(u, ref, heldBack)
	b.files(u, foreign, ref, stays)
}

// historyLost gives a certificate that was made again before there was a history: no row knows its verification files.
func (b *builder) historyLost(u *User, _ int) {
	old := b.reference(cdn)
	b.file(u, cdn, cdn.download(old.download)+pdfName, pdf, goes)
	b.file(u, cdn, cdn.verify(old.verify)+"valid.html", validPage, stays)
	b.live(u, reference{download: old.download, verify: b.id(), url: old.url}, heldBack)
}

// sameIDs gives a certificate with one id in both columns. Nothing makes such a row.
func (b *builder) sameIDs(u *User, turn int) {
	b.ordinary(u, turn)
	ref := b.reference(cdn)
	ref.verify = ref.download
	b.live(u, ref, heldBack)
	b.files(u, cdn, ref, heldBack)
}

// secondElsewhere gives a certificate whose files lie in another location than its link says.
func (b *builder) secondElsewhere(u *User, turn int) {
	b.ordinary(u, turn)
	ref := b.reference(cdn)
	b.live(u, ref, heldBack)
	b.files(u, pathStyle, ref, stays)
}

// partlySigned gives an unsigned certificate of a location that accepts it.
func (b *builder) partlySigned(u *User, turn int) {
	b.ordinary(u, turn)
	b.unsigned(u, early)
}

// neverSigned gives an unsigned certificate of a location that expects nothing else.
func (b *builder) neverSigned(u *User, _ int) { b.unsigned(u, plain) }

func (b *builder) unsigned(u *User, p place) {
	ref := b.reference(p)
	id := b.live(u, ref, goes)
	b.past(u, id, ref, "~", goes)
	b.file(u, p, p.download(ref.download)+pdfName, pdf, goes)
}

// external gives a certificate of another service, whose link is none of ours.
func (b *builder) external(u *User, turn int) {
	b.ordinary(u, turn)
	b.live(u, reference{verify: b.id(), url: ExternalPrefixes()[0] + "credentials/" + b.id() + "/"}, stays)
}

// oddLink gives links that are no proper URLs, but lead to a file of ours.
func (b *builder) oddLink(u *User, turn int) {
	host := strings.TrimPrefix(cdn.url, "https://")
	ref := b.reference(cdn)
	ref.url = []string{
		host + cdn.download(ref.download) + pdfName, "/" + cdn.download(ref.download) + pdfName,
		cdn.url + cdn.download(ref.download) + "100%.pdf", cdn.url + strings.TrimSuffix(cdn.download(ref.download), "/"),
	}[turn%4]
	b.files(u, cdn, ref, goes)
	b.live(u, ref, goes)
}

// unverified gives certificates of the renderers that made no verification pages. Their verify ids are no directory.
func (b *builder) unverified(u *User, turn int) {
	verify := []string{"", "No Verification"}[turn%2]
	for _, p := range []place{cdn, pathStyle} {
		ref := b.reference(p)
		ref.verify = verify
		id := b.live(u, ref, goes)
		b.past(u, id, ref, "~", goes)
		b.files(u, p, ref, goes)
	}
}

// regenerated gives a certificate that was made again, twice: the older files are known to the history only.
func (b *builder) regenerated(u *User, _ int) {
	id, newest := b.certificate(u, cdn)
	for _, p := range []place{pathStyle, cdn} {
		old := b.reference(p)
		b.past(u, id, old, "~", goes)
		b.past(u, id, old, "~", goes) // a change of the grade
		b.files(u, p, old, goes)
	}
	b.past(u, id, newest, "~", goes)
}

// revoked gives a certificate whose live row has forgotten its files.
func (b *builder) revoked(u *User, turn int) {
	old := b.reference(cdn)
	id := b.live(u, reference{verify: []string{old.verify, ""}[turn%2]}, stays)
	b.past(u, id, old, "~", goes)
	b.past(u, id, reference{verify: old.verify}, "~", stays)
	b.files(u, cdn, old, goes)
}

// deleted gives a certificate that has no live row any more.
func (b *builder) deleted(u *User, turn int) {
	b.ordinary(u, turn)
	old := b.reference(cdn)
	b.past(u, lostCertificate+u.ID, old, "-", goes)
	b.files(u, cdn, old, goes)
}

// withoutURL gives what today's LMS makes of a certificate when it is generated anew: the URL is emptied, the id stays.
// The files may be in any location.
func (b *builder) withoutURL(u *User, turn int) {
	p := []place{cdn, pathStyle}[turn%2]
	ref := b.reference(p)
	ref.url = ""
	id := b.live(u, ref, goes)
	b.past(u, id, ref, "~", goes)
	b.files(u, p, ref, goes)
}

// withoutID gives a certificate whose files only the URL names.
func (b *builder) withoutID(u *User, turn int) {
	p := eras[turn%len(eras)]
	ref := b.reference(p)
	b.files(u, p, ref, goes)
	ref.download = ""
	b.live(u, ref, goes)
}

// twoIDs gives a certificate whose column and URL disagree: both belong to it.
func (b *builder) twoIDs(u *User, _ int) {
	ref := b.reference(cdn)
	b.files(u, cdn, ref, goes)
	ref.download = b.id()
	b.file(u, cdn, cdn.download(ref.download)+pdfName, pdf, goes)
	b.live(u, ref, goes)
}

// respelled gives URLs that mean the same place.
func (b *builder) respelled(u *User, turn int) {
	host := strings.TrimPrefix(strings.TrimSuffix(cdn.url, "/"), "https://")
	ref := b.reference(cdn)
	ref.url = []string{"http://" + host, "HTTPS://" + strings.ToUpper(host), "https://" + host + ":443"}[turn%3] + "/" +
		cdn.download(ref.download) + pdfName
	b.files(u, cdn, ref, goes)
	b.live(u, ref, goes)
}

// s3Era gives certificates under the URLs of the S3 era. In their versioned bucket some files were overwritten, and one
// was deleted: a plain listing shows the last generation only, or nothing at all.
func (b *builder) s3Era(u *User, turn int) {
	for i := range 2 {
		p := eras[(turn+i)%len(eras)]
		ref := b.reference(p)
		id := b.live(u, ref, goes)
		b.past(u, id, ref, "~", goes)
		first := len(b.out.objects)
		b.files(u, p, ref, goes)
		for j := first; j < len(b.out.objects); j++ {
			b.out.objects[j].overwritten = (turn + i + j) % 3
		}
		b.out.objects[first].archived = i == 1
		// The same ids outside of the location are other people's.
		b.file(nil, p, strings.TrimPrefix(p.download(ref.download), archivePrefix)+pdfName, stranger, stays)
	}
}

// letter gives a certificate with a file that is none of the four.
func (b *builder) letter(u *User, _ int) {
	_, ref := b.certificate(u, cdn)
	b.file(u, cdn, cdn.download(ref.download)+"distinction-letter.pdf", pdf, goes)
	b.file(u, cdn, cdn.verify(ref.verify)+"old/verify.html", howToPage, goes)
}

// neighbours gives a certificate beside objects whose names begin like its directories, but are not in them.
func (b *builder) neighbours(u *User, turn int) {
	b.ordinary(u, turn)
	_, ref := b.certificate(u, cdn)
	dir, pages := downloads+"/"+ref.download, verification+"/"+ref.verify
	for _, name := range []string{
		dir, dir + "0/" + pdfName, dir + ".pdf", dir + "-old/" + pdfName, "x" + dir + "/" + pdfName,
		pages, pages + ".bak/valid.html", pages + "0/valid.html", "old/" + pages + "/valid.html",
		downloads + "/" + ref.download[:31] + "/" + pdfName,
		downloads + "/" + ref.verify + "/" + pdfName, verification + "/" + ref.download + "/valid.html", // the ids, exchanged
	} {
		b.file(nil, cdn, name, stranger, stays)
	}
}

// held gives a certificate one file of which a hold protects. The user's others go; what the hold does not protect,
// too.
func (b *builder) held(u *User, turn int) {
	b.ordinary(u, turn)
	b.protected(u, options{temporaryHold: turn%2 == 0, eventBasedHold: turn%2 == 1})
}

// retained gives a certificate one file of which may not be deleted before a date.
func (b *builder) retained(u *User, turn int) {
	b.ordinary(u, turn)
	b.protected(u, options{retained: true})
}

func (b *builder) protected(u *User, o options) {
	ref := b.reference(cdn)
	id := b.live(u, ref, heldBack)
	b.past(u, id, reference{}, "+", stays)
	b.past(u, id, ref, "~", heldBack)
	first := len(b.out.objects)
	b.files(u, cdn, ref, goes)
	b.out.objects[first].options, b.out.objects[first].fate = o, u.fate(heldBack)
}

// copied gives a certificate that another user's row names, too: of a learner who stays.
func (b *builder) copied(u *User, _ int) {
	if b.copy.download == "" {
		b.copy = b.reference(cdn)
	}
	b.live(u, b.copy, stays)
	b.files(u, cdn, b.copy, stays)
}

// another gives a row that names a certificate of another user: all of it, or its PDF only.
func (b *builder) another(u *User, turn int) {
	b.ordinary(u, turn)
	if b.copy.download == "" {
		b.copy = b.reference(cdn)
	}
	ref := b.copy
	if turn%2 == 1 {
		ref.verify = b.id()
	}
	b.live(u, ref, heldBack)
}

// common gives two users rows that name one directory. Whose files they are only a person can tell.
func (b *builder) common(u *User, turn int) {
	b.ordinary(u, turn)
	if turn == 0 {
		b.both = b.reference(cdn)
		b.files(u, cdn, b.both, heldBack)
	}
	b.live(u, b.both, heldBack)
}

// foreign gives a certificate in a bucket that no location names.
func (b *builder) foreign(u *User, turn int) {
	b.ordinary(u, turn)
	ref := b.reference(foreign)
	id := b.live(u, ref, heldBack)
	b.past(u, id, ref, "~", heldBack)
	b.files(u, foreign, ref, stays)
}

// oddID gives a certificate whose id is not one of ours. It must not become a prefix, even if it looks like one.
func (b *builder) oddID(u *User, turn int) {
	b.ordinary(u, turn)
	ref := b.reference(cdn)
	ref.download = []string{strings.ToUpper(ref.download), ref.download[:16]}[turn%2]
	ref.url = cdn.link(ref.download)
	b.live(u, ref, heldBack)
	b.files(u, cdn, ref, heldBack)
}
