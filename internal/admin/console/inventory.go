package console

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/certpurge/certpurge/internal/inventory"
	"github.com/certpurge/certpurge/internal/mysql"
)

// inventoriesShown is how many runs the page names.
const inventoriesShown = 20

// inventoryView is the page of what worker inventory has found.
type inventoryView struct {
	frame

	Runs   []mysql.Inventory // the newest first
	Latest *mysql.Inventory  // the newest that is complete
	Kept   inventory.Kept    // its result
	Failed string            // why the newest one failed, if it did
	Left   int64             // directories that are no live ones
	Lists  []directories
}

// directories are the directories of one class.
type directories struct {
	inventory.Sum

	Names []inventory.Directory
}

func (c *Console) serveInventory(w http.ResponseWriter, r *http.Request) {
	v := inventoryView{frame: c.framed(r, "Inventory", "Inventory")}
	runs, err := c.sources.Records.Inventories(r.Context(), inventoriesShown)
	if err != nil {
		c.fail(w, r, "Inventory", err)
		return
	}
	v.Runs = runs
	for i, run := range runs {
		if i > 0 && !run.Complete {
			continue
		}
		kept, err := c.readInventory(r.Context(), run.ID)
		if err != nil {
			c.fail(w, r, "Inventory", err)
			return
		}
		if !run.Complete {
			v.Failed = kept.Failed
			continue
		}
		v.Latest, v.Kept = &runs[i], kept
		break
	}
	v.arrange()
	c.show(w, r, http.StatusOK, "inventory", v)
}

func (c *Console) readInventory(ctx context.Context, id int64) (kept inventory.Kept, err error) {
	text, err := c.sources.Records.InventoryReport(ctx, id)
	if err == nil {
		err = json.Unmarshal(text, &kept)
	}
	if err != nil {
		err = fmt.Errorf("reading inventory %d: %w", id, err)
	}
	return kept, err
}

// arrange makes the lists of the classes that are to be brought to zero.
func (v *inventoryView) arrange() {
	for _, sum := range v.Kept.Sums {
		if !sum.Class.Problem() || sum.Directories == 0 {
			continue
		}
		v.Left += sum.Directories
		list := directories{Sum: sum}
		for _, d := range v.Kept.Names {
			if d.Class == sum.Class {
				list.Names = append(list.Names, d)
			}
		}
		v.Lists = append(v.Lists, list)
	}
}
