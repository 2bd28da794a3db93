// Package survey reads all links of an LMS for the operator who sets certpurge up: it groups them by how they begin,
// tries a sample of each group in the buckets, says what is wrong with the locations, and suggests some that would fit.
// It reads only.
package survey

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/purge"
)

// Database is the LMS and the ledger.
type Database interface {
	// EachReference calls do for every reference; the user is 0 where the row names none.
	EachReference(ctx context.Context, do func(purge.UserID, purge.Reference) error) error
	// EachRetiree calls do for every user with a retirement request.
	EachRetiree(ctx context.Context, do func(purge.Retiree) error) error
	// Emptied returns those of the directories that certpurge emptied for a user.
	Emptied(ctx context.Context, user purge.UserID, dirs []purge.Directory) ([]purge.Directory, error)
}

// Objects lists the directories of configured locations, and no others.
type Objects interface {
	List(ctx context.Context, dir purge.Directory) ([]purge.Generation, error)
}

// Lister looks into any bucket that the credentials may list.
type Lister interface {
	// Holds reports whether there is an object under a directory.
	Holds(ctx context.Context, dir purge.Directory) (bool, error)
	// Directories returns the directories right below a prefix, each with the slash at its end.
	Directories(ctx context.Context, bucket, prefix string) ([]string, error)
}

// Survey is one check of an LMS. Set the fields once.
type Survey struct {
	Database  Database
	Objects   Objects
	Lister    Lister
	Locations purge.Locations
	Eligible  func(purge.Retirement) bool
	Sample    int // certificates of each group that are looked for in a bucket
	// Configured are the locations as the file has them, in the order of Locations.
	Configured []config.Location
	External   []string        // the external prefixes
	Buckets    []string        // to look into, beside those of the locations and those that links name
	Progress   func(links int) // called now and then with the number read; may be nil
}

// Report is what a survey found.
type Report struct {
	Links    int       `json:"links"`
	Users    int       `json:"users"`
	Retiring int       `json:"retiring"` // of the users
	Findings []Finding `json:"findings"`
	Groups   []*Group  `json:"groups"` // those with the most links first

	places map[*Group]place // where the files of groups were found that are not where they are expected
	signed map[base]signature
	search *search
}

// Group is the links that begin alike and are taken alike.
type Group struct {
	Prefix   string      `json:"prefix"` // purge.Understanding.Prefix
	Taker    purge.Taker `json:"taker"`
	Location string      `json:"location,omitempty"`
	More     bool        `json:"more,omitempty"` // the links of all groups above the limit
	Links    int         `json:"links"`
	Users    int         `json:"users"`
	Retiring int         `json:"retiring"`
	Odd      []Oddity    `json:"odd"`
	// What the sample found. A group that no location takes has none.
	Downloads    Tally  `json:"downloads"`
	Verification Tally  `json:"verification"`
	Failure      string `json:"failure,omitempty"` // why the sample is not complete

	location *purge.Location
	withUUID int // rows with an id in the column download_uuid
	linkedID int // links with an id where a directory would be
	users    *roaring.Bitmap
	sample   []sampled
}

// Tally counts directories of a sample.
type Tally struct {
	Expected int `json:"expected"`
	Found    int `json:"found"`
	Erased   int `json:"erased"` // by certpurge, before; these are not expected
	// Unexpected are directories that hold something although the location does not expect it: it is not signed.
	Unexpected int `json:"unexpected"`
}

// Oddity is why references of a group cannot be purged.
type Oddity struct {
	Text    string `json:"text"`
	Rows    int    `json:"rows"`
	Example string `json:"example"` // one of the rows
}

// sampled is one reference of a sample, which is in the order of weight.
type sampled struct {
	weight uint64
	user   purge.UserID
	ref    purge.Reference
	id     string // of the download directory
	target purge.Target
}

// maxGroups bounds the memory of a survey: links of further groups are counted together.
const maxGroups = 1_000

// progressEvery is after how many links Progress is called.
const progressEvery = 1_000

// Run reads all links and looks for the sample.
func (s *Survey) Run(ctx context.Context) (*Report, error) {
	retiring, err := s.retiring(ctx)
	if err != nil {
		return nil, err
	}
	groups, all := map[groupKey]*Group{}, roaring.New()
	r := &Report{Findings: []Finding{}}
	err = s.Database.EachReference(ctx, func(user purge.UserID, ref purge.Reference) error {
		if r.Links++; r.Links%progressEvery == 0 && s.Progress != nil {
			s.Progress(r.Links)
		}
		if user.Valid() {
			all.Add(uint32(user)) //nolint:gosec // Valid: below 2^31
		}
		u := s.Locations.Understand(ref)
		groupOf(groups, u).add(user, ref, u, s.Sample)
		return nil
	})
	if err != nil {
		return nil, err
	}
	r.Users, r.Retiring = int(all.GetCardinality()), int(all.AndCardinality(retiring)) //nolint:gosec // of 32-bit ids
	r.Groups = make([]*Group, 0, len(groups))
	for _, g := range groups {
		g.Users = int(g.users.GetCardinality())            //nolint:gosec // of 32-bit ids
		g.Retiring = int(g.users.AndCardinality(retiring)) //nolint:gosec // of 32-bit ids
		slices.SortFunc(g.Odd, func(x, y Oddity) int { return cmp.Or(y.Rows-x.Rows, cmp.Compare(x.Text, y.Text)) })
		g.users = nil
		r.Groups = append(r.Groups, g)
	}
	slices.SortFunc(r.Groups, func(x, y *Group) int {
		return cmp.Or(y.Links-x.Links, cmp.Compare(x.Prefix, y.Prefix), cmp.Compare(x.Location, y.Location))
	})
	if err := s.lookAt(ctx, r.Groups); err != nil {
		return nil, err
	}
	return r, s.judge(ctx, r)
}

// retiring are the users who may be purged.
func (s *Survey) retiring(ctx context.Context) (*roaring.Bitmap, error) {
	users := roaring.New()
	return users, s.Database.EachRetiree(ctx, func(retiree purge.Retiree) error {
		if s.Eligible(retiree.Retirement) && retiree.User.Valid() {
			users.Add(uint32(retiree.User)) //nolint:gosec // Valid: below 2^31
		}
		return nil
	})
}

type groupKey struct {
	prefix, location string
	taker            purge.Taker
	more             bool
}

// groupOf finds or makes the group of a reference.
func groupOf(groups map[groupKey]*Group, u purge.Understanding) *Group {
	key := groupKey{prefix: u.Prefix, taker: u.Taker}
	if u.Location != nil {
		key.location = u.Location.Name
	}
	g := groups[key]
	if g == nil && len(groups) >= maxGroups {
		key = groupKey{taker: purge.TakenByNone, more: true}
		g = groups[key]
	}
	if g == nil {
		g = &Group{
			Prefix: key.prefix, Taker: key.taker, Location: key.location, More: key.more, Odd: []Oddity{},
			users: roaring.New(),
		}
		if !key.more {
			g.location = u.Location
		}
		groups[key] = g
	}
	return g
}

// add counts one reference.
func (g *Group) add(user purge.UserID, ref purge.Reference, u purge.Understanding, sample int) {
	g.Links++
	if user.Valid() {
		g.users.Add(uint32(user)) //nolint:gosec // Valid: below 2^31
	}
	if ref.DownloadUUID != "" {
		g.withUUID++
	}
	if u.LinkedID != "" {
		g.linkedID++
	}
	// A link that no location takes is reported as such, once for the group.
	if u.Problem != "" && (g.Taker != purge.TakenByNone || g.Prefix == "") {
		i := slices.IndexFunc(g.Odd, func(o Oddity) bool { return o.Text == u.Problem })
		if i < 0 {
			i = len(g.Odd)
			g.Odd = append(g.Odd, Oddity{Text: u.Problem, Example: ref.String()})
		}
		g.Odd[i].Rows++
	}
	if u.ID == "" || g.More {
		return
	}
	g.sampleOne(sampled{weight: weigh(u.ID), user: user, ref: ref, id: u.ID, target: u.Target}, sample)
}

// weigh spreads a sample over all ids, and is the same for the live row and the history of one file.
func weigh(id string) uint64 {
	sum := sha256.Sum256([]byte(id))
	return binary.BigEndian.Uint64(sum[:])
}

// sampleOne keeps the references with the least weights, each file once.
func (g *Group) sampleOne(one sampled, limit int) {
	at, known := slices.BinarySearchFunc(g.sample, one, func(x, y sampled) int {
		return cmp.Or(cmp.Compare(x.weight, y.weight), cmp.Compare(x.id, y.id))
	})
	switch {
	case known && g.sample[at].ref.VerifyUUID == "": // the row that says more
		g.sample[at] = one
	case known || at >= limit:
	default:
		g.sample = slices.Insert(g.sample, at, one)
		g.sample = g.sample[:min(len(g.sample), limit)]
	}
}
