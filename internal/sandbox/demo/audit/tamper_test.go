package audit_test

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/evidence"
	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/demo/audit"
	"github.com/certpurge/certpurge/internal/sandbox/demo/dataset"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// TestTheCheckCanFail spoils a purge in every way that the check is there for.
func TestTheCheckCanFail(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		wrap  func(w *world) func(purge.Objects) purge.Objects
		spoil func(w *world)
		want  audit.Findings // its counters that must be zero
	}{
		"an object is left": {
			wrap: func(w *world) func(purge.Objects) purge.Objects {
				return func(o purge.Objects) purge.Objects { return &lazy{Objects: o, generation: anyOf(w.want.Erased)} }
			},
			want: audit.Findings{ObjectsLeft: 1, EvidenceGaps: 2}, // the request's figure and the evidence
		},
		"a foreign object is deleted": {
			spoil: func(w *world) { w.delete(w.foreignObject()) },
			want:  audit.Findings{ForeignObjectsTouched: 1},
		},
		"a foreign object is put under a hold": {
			spoil: func(w *world) {
				g := w.foreignObject()
				if err := w.Server.SetGenerationHold(g.Bucket, g.Name, g.Number, true, false); err != nil {
					w.t.Fatal(err)
				}
			},
			want: audit.Findings{ForeignObjectsTouched: 1},
		},
		"an object appears": {
			spoil: func(w *world) {
				if _, err := w.Server.Put(dataset.Buckets()[0], "new", nil, gcstest.ObjectOptions{}); err != nil {
					w.t.Fatal(err)
				}
			},
			want: audit.Findings{ForeignObjectsTouched: 1},
		},
		"an object under a hold is deleted": {
			spoil: func(w *world) {
				for g := range w.want.HeldBack {
					for _, o := range w.Server.Objects(g.Bucket, g.Name) {
						if o.TemporaryHold {
							if err := w.Server.SetHold(g.Bucket, g.Name, false, false); err != nil {
								w.t.Fatal(err)
							}
							w.delete(g)
							return
						}
					}
				}
			},
			want: audit.Findings{HeldBackLost: 1},
		},
		"a foreign reference is cleared": {
			spoil: func(w *world) {
				w.exec("UPDATE TABLE SET download_uuid = '', download_url = '' WHERE id = ?", w.foreignRow(lms.Certificates))
			},
			want: audit.Findings{ForeignRowsTouched: 1},
		},
		"a foreign history row is cleared": {
			spoil: func(w *world) {
				w.exec("UPDATE HISTORY SET download_uuid = '', download_url = '' WHERE history_id = ?", w.foreignRow(lms.History))
			},
			want: audit.Findings{ForeignRowsTouched: 1},
		},
		"the reference of a held object is cleared": {
			spoil: func(w *world) {
				w.exec("UPDATE TABLE SET download_uuid = '', download_url = '' WHERE id = ?", live(w.want.Kept))
			},
			want: audit.Findings{HeldBackLost: 1},
		},
		"modified_date moves with the clearing": {
			spoil: func(w *world) {
				w.exec("UPDATE TABLE SET modified_date = modified_date + INTERVAL 1 MICROSECOND WHERE id = ?", live(w.want.Cleared))
			},
			want: audit.Findings{ForeignRowsTouched: 1},
		},
		"verify_uuid is cleared, too": {
			spoil: func(w *world) {
				w.exec("UPDATE TABLE SET verify_uuid = '' WHERE verify_uuid <> '' AND id = ?", live(w.want.Cleared))
			},
			want: audit.Findings{ForeignRowsTouched: 1},
		},
		"a letter changes its case": {
			spoil: func(w *world) {
				w.exec("UPDATE TABLE SET course_id = UPPER(course_id) WHERE id = ?", w.foreignRow(lms.Certificates))
			},
			want: audit.Findings{ForeignRowsTouched: 1},
		},
		"NULL becomes an empty text": {
			spoil: func(w *world) {
				w.exec("UPDATE HISTORY SET history_change_reason = '' WHERE history_id = ?", w.foreignRow(lms.History))
			},
			want: audit.Findings{ForeignRowsTouched: 1},
		},
		"a reference is left": {
			spoil: func(w *world) {
				w.exec("UPDATE TABLE SET download_url = 'https://certificates.example.com/' WHERE id = ?", live(w.want.Cleared))
			},
			want: audit.Findings{ReferencesLeft: 1, EvidenceGaps: 1},
		},
		"a history row is written": {
			spoil: func(w *world) {
				w.db.AddHistory(w.t, sandboxtest.HistoryRow{CertificateID: int(live(w.want.Cleared))})
			},
			want: audit.Findings{ForeignRowsTouched: 1},
		},
		"a certificate is deleted": {
			spoil: func(w *world) { w.exec("DELETE FROM TABLE WHERE id = ?", w.foreignRow(lms.Certificates)) },
			want:  audit.Findings{ForeignRowsTouched: 1},
		},
		"a row of another table changes": {
			spoil: func(w *world) {
				w.exec("UPDATE STATUS SET responses = 'purged' ORDER BY id LIMIT 1")
			},
			want: audit.Findings{ForeignRowsTouched: 1},
		},
		"a user ends otherwise": {
			spoil: func(w *world) {
				w.exec("UPDATE LEDGER.requests SET state = 'done', reason = '', ended_as = 'done:' WHERE state = 'refused' ORDER " +
					"BY id LIMIT 1")
			},
			want: audit.Findings{UnexpectedEnds: 1},
		},
		"a request is lost": {
			spoil: func(w *world) {
				w.exec("DELETE FROM LEDGER.requests WHERE state = 'refused' ORDER BY id LIMIT 1")
			},
			want: audit.Findings{UnexpectedEnds: 1},
		},
		"evidence is lost": {
			spoil: func(w *world) {
				name := ""
				w.edit(purge.Erased, func(d *evidence.Directory, i int) {
					if name == "" {
						name = d.Prefix + d.Generations[i].Name
					}
					if d.Prefix+d.Generations[i].Name == name {
						d.Generations = slices.Delete(d.Generations, i, i+1)
					}
				})
				w.edit(purge.Listed, func(d *evidence.Directory, i int) {
					if d.Prefix+d.Generations[i].Name == name {
						d.Generations = slices.Delete(d.Generations, i, i+1)
					}
				})
			},
			want: audit.Findings{EvidenceGaps: 3}, // the file, and the two documents that were changed,
		},
		"evidence of what never was": {
			spoil: func(w *world) {
				w.editOne(purge.HeldBack, purge.Erased)
			},
			want: audit.Findings{EvidenceGaps: 2}, // and the document that was changed,
		},
		"evidence is not settled": {
			spoil: func(w *world) {
				w.editOne(purge.HeldBack, purge.NotProven)
			},
			want: audit.Findings{EvidenceGaps: 2}, // and the document that was changed,
		},
		"a document is written anew, with a new hash": {
			spoil: func(w *world) {
				rows := w.db.DumpTable(w.t, w.db.Ledger+".evidence_documents")
				last := slices.MaxFunc(rows, func(a, b map[string]string) int {
					return cmp.Or(cmp.Compare(len(a["id"]), len(b["id"])), cmp.Compare(a["id"], b["id"]))
				})
				var previous [32]byte
				for _, row := range rows {
					if row["request_id"] == last["request_id"] && row["number"] < last["number"] {
						copy(previous[:], row["hash"])
					}
				}
				text := []byte(strings.Replace(last["document"], `"version":1`, `"version": 1`, 1))
				hash := evidence.Hash(previous, text)
				w.exec("UPDATE LEDGER.evidence_documents SET document = ?, hash = ? WHERE id = ?", text, hash[:], last["id"])
			},
			want: audit.Findings{EvidenceGaps: 1}, // the anchor does not hold it
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var wrap func(purge.Objects) purge.Objects
			if c.wrap != nil {
				wrap = c.wrap(w)
			}
			w.purge(wrap)
			if c.spoil != nil {
				c.spoil(w)
			}
			f := w.check()
			if f.OK() || len(f.Problems) == 0 {
				t.Errorf("got ok, want a problem: %+v", f)
			}
			if got, want := counters(f), counters(c.want); got != want {
				t.Errorf("got %v, want %v:\n%v", got, want, f.Problems)
			}
		})
	}
}

// counters are those that must be zero after a true purge.
func counters(f audit.Findings) [7]int {
	return [7]int{
		f.ObjectsLeft, f.ReferencesLeft, f.HeldBackLost, f.ForeignObjectsTouched, f.ForeignRowsTouched, f.UnexpectedEnds,
		f.EvidenceGaps,
	}
}

// anyOf returns a key of a map.
func anyOf[K comparable](m map[K]int) K {
	for key := range m {
		return key
	}
	panic("the map is empty")
}

// live is the id of a row of the live table.
func live(rows map[dataset.Row]int) int64 {
	for r := range rows {
		if r.Table == lms.Certificates {
			return r.ID
		}
	}
	panic("no row of the live table")
}

// foreignRow is the id of a row that holds a reference and must not change.
func (w *world) foreignRow(table string) int64 {
	w.t.Helper()
	key := map[string]string{lms.Certificates: "id", lms.History: "history_id"}[table]
	for _, r := range w.db.DumpTable(w.t, table) {
		id, err := strconv.ParseInt(r[key], 10, 64)
		if err != nil {
			w.t.Fatal(err)
		}
		_, cleared := w.want.Cleared[dataset.Row{Table: table, ID: id}]
		_, kept := w.want.Kept[dataset.Row{Table: table, ID: id}]
		if !cleared && !kept && r["download_url"] != "" {
			return id
		}
	}
	w.t.Fatalf("no row of %s is foreign", table)
	return 0
}

// foreignObject is a generation that must not change.
func (w *world) foreignObject() dataset.Generation {
	w.t.Helper()
	for _, o := range w.Server.Objects(dataset.Buckets()[0], "") {
		g := dataset.Generation{Bucket: o.Bucket, Name: o.Name, Number: o.Generation}
		_, erased := w.want.Erased[g]
		_, kept := w.want.HeldBack[g]
		if !erased && !kept {
			return g
		}
	}
	w.t.Fatal("no object is foreign")
	return dataset.Generation{}
}

// delete deletes a generation without the checks of a purge.
func (w *world) delete(g dataset.Generation) {
	w.t.Helper()
	target := w.base + "b/" + url.PathEscape(g.Bucket) + "/o/" + url.PathEscape(g.Name) + "?generation=" +
		strconv.FormatInt(g.Number, 10)
	request, err := http.NewRequestWithContext(context.WithoutCancel(w.t.Context()), http.MethodDelete, target,
		http.NoBody)
	if err != nil {
		w.t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusNoContent {
		w.t.Fatalf("deleting %v: got %s", g, answer.Status)
	}
}

// edit changes generations with an outcome in all documents of the evidence. It may remove the one that it is shown.
func (w *world) edit(outcome purge.Outcome, change func(d *evidence.Directory, i int)) {
	w.t.Helper()
	for _, row := range w.db.DumpTable(w.t, w.db.Ledger+".evidence_documents") {
		d, err := evidence.Decode([]byte(row["document"]))
		if err != nil {
			w.t.Fatal(err)
		}
		for n := range d.Directories {
			dir := &d.Directories[n]
			for i, g := range slices.Backward(dir.Generations) {
				if g.Outcome == outcome {
					change(dir, i)
				}
			}
		}
		text, err := d.Encode()
		if err != nil {
			w.t.Fatal(err)
		}
		if string(text) != row["document"] {
			w.exec("UPDATE LEDGER.evidence_documents SET document = ? WHERE id = ?", text, row["id"])
		}
	}
}

// editOne changes the outcome of one generation.
func (w *world) editOne(from, to purge.Outcome) {
	w.t.Helper()
	done := false
	w.edit(from, func(d *evidence.Directory, i int) {
		if !done {
			d.Generations[i].Outcome, done = to, true
		}
	})
}
