package audit

import (
	"cmp"

	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/sandbox/demo/dataset"
)

// bucket walks through both states of a bucket, which have the same order. Soft-deleted generations are stored ones.
func (c *check) bucket(name string) {
	before, after := c.before.objects[name], c.Server.Objects(name, "")
	for len(before) > 0 || len(after) > 0 {
		var order int
		switch {
		case len(after) == 0:
			order = -1
		case len(before) == 0:
			order = 1
		default:
			order = cmp.Or(cmp.Compare(before[0].Name, after[0].Name), cmp.Compare(before[0].Generation, after[0].Generation))
		}
		switch {
		case order < 0:
			c.vanished(before[0])
			before = before[1:]
		case order > 0:
			c.count(&c.ForeignObjectsTouched, "%v is new", key(after[0]))
			after = after[1:]
		default:
			c.stored(before[0], after[0])
			before, after = before[1:], after[1:]
		}
	}
}

func key(o gcstest.Object) dataset.Generation {
	return dataset.Generation{Bucket: o.Bucket, Name: o.Name, Number: o.Generation}
}

// vanished judges a generation that is no longer there.
func (c *check) vanished(o gcstest.Object) {
	k := key(o)
	if user, ok := c.want.Erased[k]; ok {
		c.ObjectsErased++
		c.erased[user]++
		c.gone[k] = user
		return
	}
	if _, ok := c.want.HeldBack[k]; ok {
		c.count(&c.HeldBackLost, "%v is gone, though something forbade it", k)
		return
	}
	c.count(&c.ForeignObjectsTouched, "%v is gone", k)
}

// stored judges a generation that is still there.
func (c *check) stored(before, after gcstest.Object) {
	k := key(after)
	_, erasing := c.want.Erased[k]
	_, keeping := c.want.HeldBack[k]
	switch {
	case erasing && c.underWay: // its time will come
	case erasing:
		c.count(&c.ObjectsLeft, "%v is still stored", k)
	case keeping && before == after:
		c.ObjectsHeldBack++
	case keeping:
		c.count(&c.HeldBackLost, "%v changed, though something forbade it", k)
	case before != after:
		c.count(&c.ForeignObjectsTouched, "%v changed", k)
	}
}
