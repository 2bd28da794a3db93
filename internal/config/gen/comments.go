package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
)

// comments holds the comments of structs by "Struct" and of fields by "Struct.Field", as one paragraph each.
type comments map[string]string

// readComments returns the comments of all structs in the Go files of dir.
func readComments(dir string) (comments, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, fmt.Errorf("listing sources in %s: %w", dir, err)
	}
	found := comments{}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("parsing %s: %w", file, err)
		}
		for _, declaration := range parsed.Decls {
			if types, ok := declaration.(*ast.GenDecl); ok && types.Tok == token.TYPE {
				found.add(types)
			}
		}
	}
	return found, nil
}

func (c comments) add(types *ast.GenDecl) {
	for _, spec := range types.Specs {
		typeSpec, ok := spec.(*ast.TypeSpec)
		if !ok {
			continue
		}
		structType, ok := typeSpec.Type.(*ast.StructType)
		if !ok {
			continue
		}
		c[typeSpec.Name.Name] = paragraph(types.Doc)
		for _, field := range structType.Fields.List {
			for _, name := range field.Names {
				c[typeSpec.Name.Name+"."+name.Name] = paragraph(field.Doc)
			}
		}
	}
}

// about returns the comment of name, whose first word is the Go name, with the key in its place.
func (c comments) about(name, key string) (string, error) {
	text := c[name]
	goName := name[strings.LastIndex(name, ".")+1:]
	rest, ok := strings.CutPrefix(text, goName+" ")
	if !ok {
		return "", fmt.Errorf("the comment of %s must start with %s, is %q", name, goName, text)
	}
	return "`" + key + "` " + rest, nil
}

func paragraph(comment *ast.CommentGroup) string {
	return strings.Join(strings.Fields(comment.Text()), " ")
}
