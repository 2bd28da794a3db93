package certificate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// maxSize is what a document may have; one of 1,000 files has less than a megabyte.
const maxSize = 64 << 20

// Parse reads what Encode has written; one line break may follow. That the bytes are those which Encode would write
// shows all at once: there is no member that the format does not have, none is missing or doubled, and the form is
// canonical.
func Parse(r io.Reader) (*Certificate, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading the certificate: %w", err)
	}
	if len(text) > maxSize {
		return nil, errors.New("this is larger than 64 MiB: expected a certificate as JSON")
	}
	text = bytes.TrimSuffix(text, []byte("\n"))
	var head struct {
		Version *int  `json:"version"`
		Kind    *Kind `json:"kind"`
	}
	if err := json.Unmarshal(text, &head); err != nil || head.Version == nil || head.Kind == nil {
		return nil, errors.New("this is no certificate: expected the JSON of enqueuer certificate -o json")
	}
	if *head.Version != Version {
		return nil, fmt.Errorf("this is a certificate of version %d; this program knows %d", *head.Version, Version)
	}
	var c Certificate
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		return nil, fmt.Errorf("this does not follow the format of certificates: %w", err)
	}
	again, err := c.Encode()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, text) {
		canonical := jsontext.Value(slices.Clone(text))
		if err := canonical.Canonicalize(); err == nil && bytes.Equal(canonical, again) {
			return nil, errors.New("this is a certificate, but not byte for byte as it was written: expected canonical JSON")
		}
		return nil, errors.New("this does not follow the format of certificates: members are missing, or of another form")
	}
	whole := c.Kind == KindCertificate && len(c.Left) == 0
	if !whole && (c.Kind != KindStatement || len(c.Left) == 0) {
		return nil, fmt.Errorf("this calls itself a %.40q with %d things left", c.Kind, len(c.Left))
	}
	if !c.UserID.Valid() || len(c.Requests) == 0 {
		return nil, errors.New("this is about no user, or about no request")
	}
	return &c, nil
}
