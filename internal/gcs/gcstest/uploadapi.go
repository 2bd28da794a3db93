package gcstest

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"time"
)

// maxUpload is what a body may hold. The Go client sends larger objects as resumable uploads, which are not emulated.
const maxUpload = 64 << 20

// uploadMetadata is what a multipart upload may set.
type uploadMetadata struct {
	Name           string `json:"name"`
	ContentType    string `json:"contentType"`
	CacheControl   string `json:"cacheControl"`
	Crc32c         string `json:"crc32c"`
	TemporaryHold  bool   `json:"temporaryHold"`
	EventBasedHold bool   `json:"eventBasedHold"`
	Retention      struct {
		RetainUntilTime time.Time `json:"retainUntilTime"`
	} `json:"retention"`
}

// upload handles POST /upload/storage/v1/b/BUCKET/o with uploadType media or multipart.
func (s *Server) upload(c *call, r *http.Request, b *bucket, denied map[string]bool) reply {
	if denied[permCreate] {
		return c.refusal(errDenied(permCreate, "object"))
	}
	var bad *Error
	u := upload{bucket: c.bucket, conditions: c.conditions(&bad), mayOverwrite: !denied[permDelete]}
	if bad == nil {
		bad = u.read(c, r)
	}
	if bad != nil {
		return c.refusal(bad)
	}
	stored, refused := b.put(at(s.now()), u)
	if refused != nil {
		return c.refusal(refused)
	}
	return jsonReply(appendObject(nil, c.bucket, &stored, parseSelection(c.query.Get("fields"))))
}

// read takes name, options and content from the request.
func (u *upload) read(c *call, r *http.Request) *Error {
	body := io.LimitReader(r.Body, maxUpload+1)
	meta := uploadMetadata{Name: c.name, ContentType: r.Header.Get("Content-Type")}
	var err error
	switch kind := c.query.Get("uploadType"); kind {
	case "media":
		u.data, err = io.ReadAll(body)
	case "multipart":
		u.data, err = meta.readParts(body, r.Header.Get("Content-Type"))
	default:
		return errNotEmulated("uploadType=" + kind)
	}
	switch {
	case err != nil:
		return errInvalid("Malformed upload: " + err.Error())
	case len(u.data) > maxUpload:
		return errNotEmulated("objects of more than 64 MiB")
	case meta.Name == "":
		return &Error{http.StatusBadRequest, "required", "Required"}
	case strings.HasPrefix(meta.ContentType, "multipart/related"):
		meta.ContentType = ""
	}
	sum := base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.Checksum(u.data, castagnoli)))
	if meta.Crc32c != "" && meta.Crc32c != sum {
		return errInvalid(`Provided CRC32C "` + meta.Crc32c + `" doesn't match calculated CRC32C "` + sum + `".`)
	}
	u.name = meta.Name
	u.options = ObjectOptions{
		ContentType: meta.ContentType, CacheControl: meta.CacheControl,
		TemporaryHold: meta.TemporaryHold, EventBasedHold: meta.EventBasedHold, RetainUntil: meta.Retention.RetainUntilTime,
	}
	return nil
}

// readParts reads multipart/related: the metadata as JSON, then the content, whose own type counts if the metadata
// names none.
func (m *uploadMetadata) readParts(body io.Reader, contentType string) ([]byte, error) {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, err
	}
	parts := multipart.NewReader(body, params["boundary"])
	part, err := parts.NextRawPart()
	if err != nil {
		return nil, err
	}
	m.ContentType = ""
	if err := json.NewDecoder(part).Decode(m); err != nil {
		return nil, err
	}
	if part, err = parts.NextRawPart(); err != nil {
		return nil, err
	}
	if m.ContentType == "" {
		m.ContentType = part.Header.Get("Content-Type")
	}
	return io.ReadAll(part)
}
