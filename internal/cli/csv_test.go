package cli

import (
	"encoding/csv"
	"strings"
	"testing"
)

func TestCellsThatTerminalsAndSpreadsheetsBear(t *testing.T) {
	t.Parallel()
	for cell, want := range map[string]string{
		"cert/Größe/a b.pdf": "cert/Größe/a b.pdf", `a "quoted", one`: `a "quoted", one`, "-5": "-5", "": "",
		"=HYPERLINK(1)": "'=HYPERLINK(1)", "+1+1": "'+1+1", "-1+1": "'-1+1", "@SUM(1)": "'@SUM(1)",
		"a\nb": `a\nb`, "\x1b[2J\r": `\x1b[2J\r`, "\t=1": `\t=1`, "a\u202eb": `a\u202eb`, "a\xffb": `a\xffb`,
		"x\x00\"": `x\x00"`,
	} {
		var out strings.Builder
		w := NewCSV(&out)
		_ = w.Write([]string{cell, "next"}) // Error returns what is lost
		w.Flush()
		read, err := csv.NewReader(strings.NewReader(out.String())).Read()
		if err != nil || read[0] != want || strings.Count(out.String(), "\n") != 1 {
			t.Errorf("%q: got %q, %v; want %q", cell, out.String(), err, want)
		}
	}
}
