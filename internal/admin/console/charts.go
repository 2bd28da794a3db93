package console

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// chart is drawn as inline SVG on the server. All lengths are in units of the picture.
type chart struct {
	ID, Title string
	Says      string // what it shows, in a sentence
	Top       string // label of the upper end
	Bars      []bar
	Lines     []polyline
	Legend    []legend
	Head      []string   // of the table for those who cannot see the picture
	Rows      [][]string // hour by hour, the last one first
}

type (
	bar struct {
		X, Y, Width, Height float64
		Class               string
	}
	polyline struct {
		Points, Class string
	}
	legend struct{ Class, Text string }
)

// The size of a picture, without the labels around it.
const (
	chartWidth  = float64(slots) * 3
	chartHeight = 120.0
)

// charts are those of the overview.
func (c *Console) charts(h history, now time.Time) (all []chart) {
	if !h.begin.IsZero() {
		all = append(all, endedChart(h))
	}
	seen := c.samples.list()
	if len(seen) < 2 {
		return all
	}
	last := seen[len(seen)-1]
	whole := func(f float64) string { return number(int64(f)) }
	all = append(all,
		sampleChart("chart-open", "Open requests", several(last.open, "request is", "requests are")+" open now.", seen, now,
			series{"open", "open requests", "Open", func(s sample) float64 { return float64(s.open) }, whole}),
		sampleChart("chart-oldest", "Age of the oldest that is due", "The oldest that is due waits for "+
			period(last.oldest)+" now.", seen, now,
			series{"oldest", "age", "Age", func(s sample) float64 { return s.oldest.Minutes() }, func(f float64) string {
				return period(time.Duration(f * float64(time.Minute)))
			}}))
	if last.ceiling > 0 {
		all = append(all, sampleChart("chart-rate", "Deletes a second that this worker may send", fmt.Sprintf(
			"It may send %s a second now, of %s at most; it goes down when Cloud Storage asks for less.", whole(last.rate),
			whole(last.ceiling)), seen, now,
			series{"rate", "may send", "Now", func(s sample) float64 { return s.rate }, whole},
			series{"ceiling", "at most", "At most", func(s sample) float64 { return s.ceiling }, whole}))
	}
	return all
}

// endedChart shows what ended, five minutes by five minutes.
func endedChart(h history) chart {
	states := []purge.State{purge.Done, purge.Refused, purge.Failed}
	c := chart{
		ID: "chart-ended", Title: "Ended per five minutes",
		Legend: []legend{{"done", "done"}, {"refused", "refused"}, {"failed", "failed"}},
		Head:   []string{"Hour from (UTC)", "Done", "Refused", "Failed"},
	}
	var most int64
	total := map[purge.State]int64{}
	for _, slot := range h.ended {
		var sum int64
		for _, state := range states {
			sum += slot[state]
			total[state] += slot[state]
		}
		most = max(most, sum)
	}
	top := ceiling(float64(most))
	c.Top = number(int64(top))
	for i, slot := range h.ended {
		y := chartHeight
		for _, state := range states {
			height := float64(slot[state]) / top * chartHeight
			if height == 0 {
				continue
			}
			y -= height
			c.Bars = append(c.Bars, bar{X: float64(i) * 3, Y: round(y), Width: 2.4, Height: round(height), Class: string(state)})
		}
	}
	c.Says = fmt.Sprintf("In the last 24 hours %s were done, %s refused, %s failed.", number(total[purge.Done]),
		number(total[purge.Refused]), number(total[purge.Failed]))
	perHour := int(time.Hour / slotTime)
	for end := slots; end >= perHour; end -= perHour {
		sum := map[purge.State]int64{}
		for _, slot := range h.ended[end-perHour : end] {
			for state, n := range slot {
				sum[state] += n
			}
		}
		c.Rows = append(c.Rows, []string{
			stamp(h.begin.Add(time.Duration(end-perHour) * slotTime)), number(sum[purge.Done]), number(sum[purge.Refused]),
			number(sum[purge.Failed]),
		})
	}
	return c
}

// series is a line of a chart of samples.
type series struct {
	class, legend, head string
	value               func(sample) float64
	text                func(float64) string
}

// sampleChart shows samples as lines; each line of what is in the same unit.
func sampleChart(id, title, says string, all []sample, now time.Time, list ...series) chart {
	c := chart{ID: id, Title: title, Says: says, Head: []string{"At (UTC)"}}
	most := 0.0
	for _, s := range all {
		for _, l := range list {
			most = max(most, l.value(s))
		}
	}
	top := ceiling(most)
	c.Top = list[0].text(top)
	begin := now.Add(-24 * time.Hour)
	for _, l := range list {
		var points []string
		flush := func() {
			if len(points) > 0 {
				c.Lines = append(c.Lines, polyline{strings.Join(points, " "), l.class})
			}
			points = nil
		}
		var last time.Time
		for _, s := range all {
			if !last.IsZero() && s.at.Sub(last) > 3*sampleTime {
				flush() // nothing is known in between
			}
			last = s.at
			x := s.at.Sub(begin).Hours() / 24 * chartWidth
			points = append(points, fmt.Sprintf("%g,%g", round(x), round(chartHeight-l.value(s)/top*chartHeight)))
		}
		flush()
		c.Legend = append(c.Legend, legend{l.class, l.legend})
		c.Head = append(c.Head, l.head)
	}
	var hour time.Time
	for _, s := range slices.Backward(all) { // the last one of each hour
		at := s.at.Truncate(time.Hour)
		if at.Equal(hour) {
			continue
		}
		hour = at
		row := []string{stamp(s.at)}
		for _, l := range list {
			row = append(row, l.text(l.value(s)))
		}
		c.Rows = append(c.Rows, row)
	}
	return c
}

// ceiling is the next round number above a value, at least 1: 1, 2 or 5 times a power of ten.
func ceiling(value float64) float64 {
	if value <= 1 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(value)))
	for _, step := range []float64{1, 2, 5} {
		if value <= step*unit {
			return step * unit
		}
	}
	return 10 * unit
}

// round keeps pictures small.
func round(f float64) float64 { return math.Round(f*10) / 10 }
