package dataset

// perUser is how many certificates an ordinary user has.
const perUser = 3

// ordinary gives three certificates of four files each. The first one is young enough to have a history.
func (b *builder) ordinary(u *User, turn int) {
	for i := range perUser {
		p := cdn
		if (turn+i)%2 == 1 {
			p = public
		}
		id, ref := b.certificate(u, p)
		if i == 0 {
			b.past(u, id, reference{}, "+", stays) // as it was before its files were made
			b.past(u, id, ref, "~", goes)
		}
	}
}

// bystander gives what a purge must leave alone: of all kinds, in all buckets.
func (b *builder) bystander(u *User, turn int) {
	b.ordinary(u, turn)
	b.regenerated(u, turn)
	b.s3Era(u, turn)
}

// webOnly gives web certificates, whose verify id leads to no file. The object there belongs to another program.
func (b *builder) webOnly(u *User, _ int) {
	for range 2 {
		verify := b.id()
		id := b.live(u, reference{verify: verify}, stays)
		b.past(u, id, reference{verify: verify}, "+", stays)
		b.file(nil, cdn, cdn.verify(verify)+"index.html", stranger, stays)
	}
}

// cleared gives what an earlier purge leaves behind: rows without references.
func (b *builder) cleared(u *User, _ int) {
	id := b.live(u, reference{verify: b.id()}, stays)
	b.past(u, id, reference{verify: b.id()}, "~", stays)
}

// strangers adds what belongs to no certificate at all, in names that a careless prefix would match.
func (b *builder) strangers() {
	for _, name := range []string{
		"index.html", "robots.txt", "reports/2015-grades.csv", "downloads", "downloads/", "downloads/index.html",
		"downloads//" + pdfName,
		"cert/index.html", "cert//valid.html", "cert/No Verification/valid.html", "certificates/" + b.id() + ".pdf",
		"Downloads/" + b.id() + "/" + pdfName,
	} {
		b.file(nil, cdn, name, stranger, stays)
	}
	for _, name := range []string{
		archivePrefix + "index.html", archivePrefix + "cert//valid.html", "from-s3",
		"downloads/" + b.id() + "/" + pdfName,
	} {
		b.file(nil, pathStyle, name, stranger, stays).overwritten = 1
	}
	b.file(nil, foreign, "index.html", stranger, stays)
	for _, p := range []place{campus, early, plain} {
		b.file(nil, p, p.download(b.id())+pdfName, stranger, stays)
		b.file(nil, p, p.verify(b.id())+"valid.html", stranger, stays)
	}
	// The history does not always know whose certificate it was.
	for range 3 {
		ref := b.reference(cdn)
		b.past(nil, lostCertificate, ref, "-", stays)
		b.files(nil, cdn, ref, stays)
	}
}

// lostCertificate is the id of a certificate that is in the history only.
const lostCertificate = 2_000_000_000
