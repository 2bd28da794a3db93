// Package docs is the manual, so that programs can show it where the network does not reach it.
package docs

import "embed"

// Pages are the pages, by their paths below this directory.
//
//go:embed *.md operations/*.md
var Pages embed.FS
