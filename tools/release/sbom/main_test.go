package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schema compiles CycloneDX's own schema, which its library carries.
func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	const library = "github.com/CycloneDX/cyclonedx-go"
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f={{.Dir}}", library).Output()
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	for name, file := range map[string]string{
		"bom-1.6.schema.json":  "bom-1.6.schema.json",
		"spdx.schema.json":     "spdx.schema.json",
		"jsf-0.82.schema.json": "jsf-0.82.schemax.json",
	} {
		text, err := os.Open(filepath.Join(strings.TrimSpace(string(dir)), "schema", file))
		if err != nil {
			t.Fatal(err)
		}
		document, err := jsonschema.UnmarshalJSON(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := compiler.AddResource("http://cyclonedx.org/schema/"+name, document); err != nil {
			t.Fatal(err)
		}
	}
	compiled, err := compiler.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

// TestBillOfMaterials describes this test's own program, which links the libraries that it names.
func TestBillOfMaterials(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "certpurge_v1.2.3_linux_amd64.tar.gz")
	if err := os.WriteFile(archive, []byte("an archive"), 0o600); err != nil {
		t.Fatal(err)
	}
	var first, second bytes.Buffer
	for _, output := range []*bytes.Buffer{&first, &second} {
		if err := run(output, []string{"v1.2.3", archive, program}); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the same files made two different bills")
	}

	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(first.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	rules := schema(t)
	if err := rules.Validate(document); err != nil {
		t.Errorf("%v in\n%s", err, first.String())
	}
	wrong := strings.Replace(first.String(), `"type": "library"`, `"type": "no such type"`, 1)
	if document, err = jsonschema.UnmarshalJSON(strings.NewReader(wrong)); err != nil || rules.Validate(document) == nil {
		t.Errorf("the schema accepts everything, or %v", err)
	}

	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(&first, cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	if got, want := bom.Metadata.Timestamp, "2023-11-14T22:13:20Z"; got != want || bom.SerialNumber != "" {
		t.Errorf("got the time %s and the serial number %q, want %s and none", got, bom.SerialNumber, want)
	}
	const sum = "9e691d5adacf0e102f203100842ffaba4e2a7dfe3dbd536827d3c0db8c7e88f1" // of "an archive"
	if hash := *bom.Metadata.Component.Hashes; hash[0].Value != sum {
		t.Errorf("got %v for the archive", hash)
	}
	build, _ := debug.ReadBuildInfo()
	want := []string{filepath.Base(program), standardLibraryName(build)}
	for _, module := range build.Deps {
		want = append(want, module.Path+" "+module.Version)
	}
	var got []string
	for _, component := range *bom.Components {
		switch {
		case component.Type == cdx.ComponentTypeApplication:
			got = append(got, component.Name)
		case component.Name != "stdlib" && (component.Hashes == nil || len((*component.Hashes)[0].Value) != 64):
			t.Errorf("%s has no hash", component.Name)
			fallthrough
		default:
			got = append(got, component.Name+" "+component.Version)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func standardLibraryName(build *debug.BuildInfo) string {
	return "stdlib " + strings.TrimPrefix(strings.Fields(build.GoVersion)[0], "go")
}

func TestPackageURL(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ module, version, want string }{
		{"github.com/RoaringBitmap/roaring/v2", "v2.30.0", "pkg:golang/github.com/roaringbitmap/roaring/v2@v2.30.0"},
		{"github.com/docker/cli", "v29.7.2+incompatible", "pkg:golang/github.com/docker/cli@v29.7.2%2Bincompatible"},
		{"stdlib", "1.26.8", "pkg:golang/stdlib@1.26.8"},
	} {
		if got := purl(test.module, test.version); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}
