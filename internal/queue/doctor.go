package queue

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/purge"
)

// Ailment is a state in which asynq leaves a task when Redis loses a key, or a script of asynq dies half-way. asynq
// gets out of none of them by itself.
type Ailment string

// The ailments of tasks. What mends each of them is the same: forget the task, the ledger puts it back.
const (
	Orphan    Ailment = "task_in_no_list"      // the id is taken for ever, and nothing will run
	Leaseless Ailment = "active_without_lease" // no worker has it, and the recoverer looks at leases only
	Dangling  Ailment = "id_without_task"      // breaks the dashboard, and everything else that asks for the queue
	Stump     Ailment = "task_without_message" // what dequeuing makes of a dangling id, or no hash; looks active for ever
)

// Doctor looks into Redis for what asynq cannot mend. It reads asynq's own keys (internal/base of asynq v0.26.0; pinned
// by its tests) in pages, and blocks Redis for no longer than one task's look-up takes. Set the fields once.
type Doctor struct {
	Redis redis.UniversalClient
	// Wait is called between the two looks that each find takes. An error ends the examination.
	Wait func(context.Context) error
}

// Broken are the tasks of one queue that have one ailment.
type Broken struct {
	Ailment Ailment
	Queue   string
	More    bool // there are more than were looked for in one go
	ids     []string
}

// Count is how many tasks there are.
func (b Broken) Count() int { return len(b.ids) }

// Users returns the users whose tasks they are, in order, and how many ids are not of our making. Those may hold
// anything, so they are not shown.
func (b Broken) Users() (users []purge.UserID, foreign int) {
	for _, id := range b.ids {
		if user, ok := userOf(id); ok {
			users = append(users, user)
		} else {
			foreign++
		}
	}
	slices.Sort(users)
	return slices.Compact(users), foreign
}

// userOf reads the user from the id of a task or of a follow-up: 0 for a set of orphans.
func userOf(id string) (purge.UserID, bool) {
	numbers, ours := strings.CutPrefix(id, "purge:")
	text, more, _ := strings.Cut(numbers, ":")
	var user purge.UserID
	var err error
	if text != "0" || !strings.HasPrefix(more, "c") { // else a set of orphans
		user, err = purge.ParseUserID(text)
	}
	if err != nil || !ours {
		return 0, false
	}
	task := purge.Task{User: user}
	if text, certificate := strings.CutPrefix(more, "c"); certificate {
		text, _, _ = strings.Cut(text, ":")
		task.Certificate, err = purge.ParseCertificateID(text)
	}
	if request, follows := strings.CutPrefix(id, TaskID(task)+":"); follows && err == nil {
		_, err = strconv.ParseInt(request, 10, 64)
	} else if id != TaskID(task) {
		return 0, false
	}
	return user, err == nil
}

// Examine finds broken tasks in our queues. Tasks move while it looks, so only what two exact looks agree on counts.
func (d *Doctor) Examine(ctx context.Context) ([]Broken, error) {
	type suspects struct {
		first map[string]Ailment
		more  bool
	}
	found, sick := map[string]suspects{}, false
	for _, name := range Queues() {
		first, more, err := d.suspects(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("looking through queue %s: %w", name, err)
		}
		found[name], sick = suspects{first, more}, sick || len(first) > 0
	}
	if !sick {
		return nil, nil
	}
	if err := d.Wait(ctx); err != nil {
		return nil, err
	}
	var all []Broken
	for _, name := range Queues() {
		first := found[name].first
		second, err := d.examine(ctx, name, slices.Sorted(maps.Keys(first)), "")
		if err != nil {
			return nil, fmt.Errorf("looking again at queue %s: %w", name, err)
		}
		maps.DeleteFunc(second, func(id string, a Ailment) bool { return first[id] != a })
		for _, ailment := range []Ailment{Orphan, Leaseless, Dangling, Stump} {
			b := Broken{Ailment: ailment, Queue: name, More: found[name].more}
			for _, id := range slices.Sorted(maps.Keys(second)) {
				if second[id] == ailment {
					b.ids = append(b.ids, id)
				}
			}
			if len(b.ids) > 0 {
				all = append(all, b)
			}
		}
	}
	return all, nil
}

// Mend forgets those of the tasks that still are as they were found, and returns how many. Nothing is lost: requests
// live in the ledger, and the reconciler makes a task for each open one that has none.
func (d *Doctor) Mend(ctx context.Context, b Broken) (int, error) {
	found, err := d.examine(ctx, b.Queue, b.ids, b.Ailment)
	if err != nil {
		return 0, fmt.Errorf("mending queue %s: %w", b.Queue, err)
	}
	mended := 0
	for _, a := range found {
		if a == b.Ailment {
			mended++
		}
	}
	return mended, nil
}

// examineScript says what is wrong with one task, and forgets the task if it is what ARGV[2] names: in one step, so
// that no worker comes in between.
//
// KEYS: pending, active, scheduled, retry, archived, completed, lease, the task. ARGV: the task's id, what to mend or
// "".
const examineScript = `
local id, found = ARGV[1], ""
local active = redis.call("LPOS", KEYS[2], id)
local listed = active or redis.call("LPOS", KEYS[1], id)
for i = 3, 6 do
	listed = listed or redis.call("ZSCORE", KEYS[i], id)
end
local lease = redis.call("ZSCORE", KEYS[7], id)
local kind = redis.call("TYPE", KEYS[8]).ok
if kind == "none" then
	if listed or lease then found = "` + string(Dangling) + `" end
elseif kind ~= "hash" or redis.call("HEXISTS", KEYS[8], "msg") == 0 then
	found = "` + string(Stump) + `"
elseif not listed then
	found = "` + string(Orphan) + `"
elseif active and not lease then
	found = "` + string(Leaseless) + `"
end
if found ~= "" and found == ARGV[2] then
	redis.call("LREM", KEYS[1], 0, id)
	redis.call("LREM", KEYS[2], 0, id)
	for i = 3, 7 do
		redis.call("ZREM", KEYS[i], id)
	end
	redis.call("DEL", KEYS[8])
end
return found`

// examine takes an exact look at tasks and returns those that are broken.
func (d *Doctor) examine(ctx context.Context, queue string, ids []string, mend Ailment) (map[string]Ailment, error) {
	found := map[string]Ailment{}
	for page := range slices.Chunk(ids, doctorPage) {
		answers := make([]*redis.Cmd, len(page))
		_, err := d.Redis.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, id := range page {
				keys := make([]string, 0, len(taskSets)+1)
				for _, set := range taskSets {
					keys = append(keys, setKey(queue, set))
				}
				answers[i] = p.Eval(ctx, examineScript, append(keys, taskKey(queue, id)), id, string(mend))
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		for i, id := range page {
			text, err := answers[i].Text()
			if err != nil {
				return nil, err
			}
			if text != "" {
				found[id] = Ailment(text)
			}
		}
	}
	return found, nil
}
