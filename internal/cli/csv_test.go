package cli

import (
	"encoding/csv"
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
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
		if err := NewCSV(&out, cell, "next").Flush(); err != nil {
			t.Error(err)
		}
		read, err := csv.NewReader(strings.NewReader(out.String())).Read()
		if err != nil || read[0] != want || strings.Count(out.String(), "\n") != 1 {
			t.Errorf("%q: got %q, %v; want %q", cell, out.String(), err, want)
		}
	}
}

func TestCellsOfARow(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	lines := NewCSV(&out, "header")
	lines.Row(purge.UserID(42), purge.Done, true, at, &at, (*time.Time)(nil), 1.5)
	want := "header\n42,done,true,2026-01-02T03:04:05Z,2026-01-02T03:04:05Z,,1.5\n"
	if err := lines.Flush(); err != nil || out.String() != want {
		t.Errorf("got %q, %v; want %q", out.String(), err, want)
	}
}
