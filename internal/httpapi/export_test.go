package httpapi

import (
	"maps"
	"slices"
)

// Routes are the patterns that Handler serves and openapi.yaml describes.
func (s *Server) Routes() []string {
	var all []string
	for pattern := range maps.Keys(s.routes()) {
		all = append(all, pattern)
	}
	return all
}

// DriverPaths are the paths of the driver face.
func DriverPaths() []string { return slices.Collect(maps.Keys(driverPaths)) }
