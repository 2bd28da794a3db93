package riverbench

import (
	"fmt"
	"slices"
	"testing"
)

// metrics are the figures of one measurement, by their units.
type metrics map[string]float64

func (m metrics) report(b *testing.B) {
	b.Helper()
	b.ReportMetric(0, "ns/op") // it would count the preparations, too
	for unit, value := range m {
		b.ReportMetric(value, unit)
	}
}

// side is one of those compared.
type side struct {
	name    string
	measure func(b *testing.B) metrics
}

// compare measures the sides in turns, each round beginning with another one, and reports the median of each. The first
// side's medians have their ratios to those of the others, for the units in ratios.
func compare(b *testing.B, name string, sides []side, ratios ...string) {
	b.Helper()
	measured := map[string][]metrics{}
	for round := range rounds(b) {
		for i := range sides {
			s := sides[(round+i)%len(sides)]
			b.Run(fmt.Sprintf("%s/round=%d/%s", name, round+1, s.name), func(b *testing.B) {
				var m metrics
				for b.Loop() {
					m = s.measure(b)
				}
				m.report(b)
				measured[s.name] = append(measured[s.name], m)
			})
		}
	}
	ours := medians(measured[sides[0].name])
	for i, s := range sides {
		m := medians(measured[s.name])
		if m == nil { // it failed, or was not selected
			continue
		}
		b.Run(name+"/median/"+s.name, func(b *testing.B) {
			if i == 0 {
				for _, other := range sides[1:] {
					theirs := medians(measured[other.name])
					for _, unit := range ratios {
						if theirs[unit] > 0 {
							m[unit+"-of-"+other.name] = ours[unit] / theirs[unit]
						}
					}
				}
			}
			m.report(b)
		})
	}
}

// medians are the medians of each figure; nil without any.
func medians(all []metrics) metrics {
	if len(all) == 0 {
		return nil
	}
	m := metrics{}
	for unit := range all[0] {
		var values []float64
		for _, one := range all {
			values = append(values, one[unit])
		}
		slices.Sort(values)
		m[unit] = (values[(len(values)-1)/2] + values[len(values)/2]) / 2
	}
	return m
}
