package bench

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// BenchmarkWays compares three ways on the same site: ours, the textbook's on asynq, and the operator's: a loop over all
// objects, then one UPDATE, as the LMS's own command does it.
func BenchmarkWays(b *testing.B) {
	latency := 10 * time.Millisecond
	if full() {
		latency = 40 * time.Millisecond
	}
	for _, certificates := range []int{1, 3} {
		l := Load{Latency: latency, Concurrency: 50, Certificates: certificates}.ForAbout(2 * time.Second)
		inTurn := l
		inTurn.Way = Textbook
		name := fmt.Sprintf("certificates=%d/", certificates)
		b.Run(name+"ours", func(b *testing.B) { measure(b, NewSite(b), l) })
		b.Run(name+"textbook", func(b *testing.B) { measure(b, NewSite(b), inTurn) })
		b.Run(name+"operator", func(b *testing.B) {
			s, alone := NewSite(b), Load{Latency: latency, Concurrency: 1, Certificates: certificates, Users: 30}
			var f Figures
			for b.Loop() {
				f.add(s.operate(b, alone))
			}
			f.report(b, alone)
		})
	}
}

// operate purges as an operator does by hand.
func (s *Site) operate(b *testing.B, l Load) Figures {
	b.Helper()
	s.storage.order(b, "latency", nil)
	users := s.add(b, l.Users, l.Certificates)
	s.storage.order(b, "latency", map[string]int{"ms": int(l.Latency.Milliseconds())})
	o := newOthers(b, s, 1)
	ids := strings.TrimSuffix(strings.Repeat("?, ", len(users)), ", ")
	args := make([]any, len(users))
	for i, user := range users {
		args[i] = user
	}
	begun, packets, used := time.Now(), s.packets.Load(), s.Used(b)
	err := o.remove(b.Context(), idsOf+"user_id IN ("+ids+")", args...)
	if err == nil {
		err = o.clear(b.Context(), "user_id IN ("+ids+")", args...)
	}
	if err != nil {
		b.Fatal(err)
	}
	f := Figures{
		Users: l.Users, Objects: l.Users * l.Certificates * filesEach, Took: time.Since(begun),
		Used: s.Used(b).Minus(used), Packets: s.packets.Load() - packets,
	}
	if left := s.left(b, false); left > 0 {
		b.Fatalf("%d references and objects are left", left)
	}
	return f
}
