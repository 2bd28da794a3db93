package purge

// Expected counts the files that the references of one user should lead to, without reading a bucket.
type Expected struct {
	Certificates int // distinct
	Files        int // as edx-certificates made them: one for each download id, three for each verify_uuid beside one
	Odd          int // references with an id from which no file can be named
}

// Expect counts what a user's references should lead to. Where a certificate was made without a signature, the three
// files of its verification never existed.
func Expect(refs []Reference) Expected {
	var e Expected
	certificates, ids := map[CertificateID]bool{}, map[string]int{}
	for _, ref := range refs {
		certificates[ref.CertificateID] = true
		odd := ref.DownloadUUID != "" && !isID(ref.DownloadUUID)
		if isID(ref.DownloadUUID) {
			ids["download "+ref.DownloadUUID] = 1
		} else if ref.DownloadUUID == "" {
			ids["url "+ref.DownloadURL] = 1 // the id is in there, if any
		}
		switch verify := ref.VerifyUUID; {
		case isID(verify):
			ids["verify "+verify] = 3
		case verify != "" && verify != noVerification:
			odd = true
		}
		if odd {
			e.Odd++
		}
	}
	e.Certificates = len(certificates)
	for _, files := range ids {
		e.Files += files
	}
	return e
}
