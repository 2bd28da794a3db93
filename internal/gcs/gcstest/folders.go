package gcstest

import (
	"net/http"
	"strings"

	"github.com/tidwall/btree"
)

// The kinds of folders, as paths of the API name them. A bucket with a hierarchical namespace has folders, which stay
// when their objects go; a managed folder may be in any bucket.
const (
	folderKind  = "folders"
	managedKind = "managedFolders"
)

func (b *bucket) makeFolder(kind, name string, now stamp) {
	if _, ok := b.folders[kind].Get(name); !ok {
		b.folders[kind].Set(name, now)
	}
}

// withFolders is a copy of the stored objects, with a name for each folder. The caller holds mu for writing.
func (b *bucket) withFolders() *btree.Map[string, *versions] {
	tree := b.stored.Copy()
	for _, folders := range b.folders {
		folders.Scan(func(name string, _ stamp) bool {
			with := &versions{folder: true}
			if stored, ok := tree.Get(name); ok {
				with.all = stored.all
			}
			tree.Set(name, with)
			return true
		})
	}
	return tree
}

// folder is the resource of a folder.
type folder struct {
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	Bucket  string `json:"bucket"`
	Created string `json:"createTime"`
}

// doFolders handles /b/BUCKET/storageLayout, /b/BUCKET/folders and /b/BUCKET/managedFolders.
func (s *Server) doFolders(c *call, r *http.Request, b *bucket, denied map[string]bool) reply {
	hierarchical := b.settings().Hierarchical
	switch {
	case c.folders != folderKind && c.folders != managedKind:
		return marshalReply(map[string]any{
			"kind": "storage#storageLayout", "bucket": c.bucket, "location": "US", "locationType": "multi-region",
			"hierarchicalNamespace": map[string]any{"enabled": hierarchical},
		})
	case c.folders == folderKind && !hierarchical: // (Its message was not measured.)
		return c.refusal(errInvalid("The bucket has no hierarchical namespace."))
	}
	verb := map[string]string{http.MethodGet: "list", http.MethodPost: "create", http.MethodDelete: "delete"}[r.Method]
	if permission := "storage." + strings.ToLower(c.folders) + "." + verb; denied[permission] {
		return c.refusal(errDenied(permission, "folder"))
	}
	now := at(s.now())
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case verb == "list" && c.name == "" && c.query.Get("pageToken") == "":
		return marshalReply(map[string]any{"kind": "storage#" + c.folders, "items": b.listFolders(c)})
	case verb == "create" && c.name == "":
		return b.createFolder(now, c, r)
	case verb == "delete" && c.name != "":
		return b.deleteFolder(c)
	default:
		return c.refusal(errNotEmulated(r.Method + " " + r.URL.EscapedPath()))
	}
}

// listFolders returns all folders, however many: there are no pages.
func (b *bucket) listFolders(c *call) (found []folder) {
	prefix := c.query.Get("prefix")
	b.folders[c.folders].Ascend(prefix, func(name string, created stamp) bool {
		if !strings.HasPrefix(name, prefix) {
			return false
		}
		found = append(found, c.folder(name, created))
		return true
	})
	return found
}

func (c *call) folder(name string, created stamp) folder {
	return folder{"storage#" + strings.TrimSuffix(c.folders, "s"), name, c.bucket, created.rfc3339()}
}

func (b *bucket) createFolder(now stamp, c *call, r *http.Request) reply {
	p, bad := readPatch(r)
	name := ""
	if bad == nil {
		member(p, "name", &name, &bad)
	}
	if bad == nil && !strings.HasSuffix(name, "/") {
		bad = errInvalid("The name of a folder ends in a slash.")
	}
	if bad != nil {
		return c.refusal(bad)
	}
	b.makeFolder(c.folders, name, now)
	return marshalReply(c.folder(name, now))
}

func (b *bucket) deleteFolder(c *call) reply {
	if _, ok := b.folders[c.folders].Get(c.name); !ok {
		return c.refusal(errNoObject(c.bucket, c.name))
	}
	empty := true
	b.stored.Ascend(c.name, func(name string, _ *versions) bool {
		empty = !strings.HasPrefix(name, c.name)
		return false
	})
	b.folders[c.folders].Ascend(c.name+"\x00", func(name string, _ stamp) bool {
		empty = empty && !strings.HasPrefix(name, c.name)
		return false
	})
	if !empty && !c.flag("allowNonEmpty") {
		return c.refusal(errNotEmpty())
	}
	b.folders[c.folders].Delete(c.name)
	return reply{status: http.StatusNoContent}
}
