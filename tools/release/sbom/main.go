// Sbom writes the CycloneDX bill of materials of one archive of a release, from what Go has recorded in its programs.
//
//	sbom VERSION ARCHIVE PROGRAM... >FILE
//
// The same arguments, files and SOURCE_DATE_EPOCH make the same bytes.
package main

import (
	"cmp"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/package-url/packageurl-go"
)

func main() {
	if err := run(os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(output io.Writer, arguments []string) error {
	if len(arguments) < 3 {
		return fmt.Errorf("want VERSION ARCHIVE PROGRAM..., got %d arguments", len(arguments))
	}
	bom, err := describe(arguments[0], arguments[1], arguments[2:])
	if err != nil {
		return err
	}
	seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	bom.Metadata.Timestamp = time.Unix(seconds, 0).UTC().Format(time.RFC3339)
	return cdx.NewBOMEncoder(output, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bom, cdx.SpecVersion1_6)
}

// describe lists the archive, its programs, and all modules that are linked into them, the standard library among them.
func describe(version, archive string, programs []string) (*cdx.BOM, error) {
	hash, err := fileHash(archive)
	if err != nil {
		return nil, err
	}
	top := &cdx.Component{
		BOMRef: filepath.Base(archive), Type: cdx.ComponentTypeApplication, Name: "certpurge", Version: version, Hashes: hash,
	}
	modules := map[string]cdx.Component{}
	var components []cdx.Component
	var dependencies []cdx.Dependency
	var refs []string
	for _, file := range programs {
		info, err := buildinfo.ReadFile(file)
		if err != nil {
			return nil, err
		}
		hash, err := fileHash(file)
		if err != nil {
			return nil, err
		}
		ref := filepath.Base(file)
		top.PackageURL = purl(info.Main.Path, info.Main.Version)
		refs = append(refs, ref)
		components = append(components, cdx.Component{
			BOMRef: ref, Type: cdx.ComponentTypeApplication, Name: ref, Version: version, Hashes: hash,
		})
		var uses []string
		for _, module := range append(info.Deps, standardLibrary(info.GoVersion)) {
			if module.Replace != nil {
				module = module.Replace
			}
			component, err := library(module)
			if err != nil {
				return nil, err
			}
			modules[component.BOMRef] = component
			uses = append(uses, component.BOMRef)
		}
		slices.Sort(uses)
		dependencies = append(dependencies, cdx.Dependency{Ref: ref, Dependencies: &uses})
	}
	dependencies = append(dependencies, cdx.Dependency{Ref: top.BOMRef, Dependencies: &refs})
	for _, module := range modules {
		components = append(components, module)
	}
	slices.SortFunc(components, func(a, b cdx.Component) int { return cmp.Compare(a.BOMRef, b.BOMRef) })

	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{Component: top}
	bom.Components = &components
	bom.Dependencies = &dependencies
	return bom, nil
}

// standardLibrary has the name under which the Go vulnerability database lists it, and scanners look it up.
func standardLibrary(goVersion string) *debug.Module {
	version, _, _ := strings.Cut(strings.TrimPrefix(goVersion, "go"), " ") // "go1.26.8 X:experiment"
	return &debug.Module{Path: "stdlib", Version: version}
}

func library(module *debug.Module) (cdx.Component, error) {
	component := cdx.Component{
		Type: cdx.ComponentTypeLibrary, Name: module.Path, Version: module.Version,
		PackageURL: purl(module.Path, module.Version),
	}
	component.BOMRef = component.PackageURL
	if encoded, ok := strings.CutPrefix(module.Sum, "h1:"); ok {
		sum, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return component, fmt.Errorf("%s: %w", module.Path, err)
		}
		component.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum)}}
	}
	return component, nil
}

func purl(module, version string) string {
	url := packageurl.NewPackageURL(packageurl.TypeGolang, namespace(module), path.Base(module), version, nil, "")
	if err := url.Normalize(); err != nil {
		panic(err) // the type is known, and no module has an empty path
	}
	return url.ToString()
}

func namespace(module string) string {
	if dir := path.Dir(module); dir != "." {
		return dir
	}
	return ""
}

func fileHash(name string) (*[]cdx.Hash, error) {
	file, err := os.Open(name) //nolint:gosec // the caller names it
	if err != nil {
		return nil, err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return nil, err
	}
	return &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum.Sum(nil))}}, nil
}
