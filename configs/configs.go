// Package configs holds the example configurations, so that the binary has them without a file.
package configs

import _ "embed" // For go:embed.

// Demo is the text of demo.yaml: the configuration that works against `worker sandbox` on
// http://127.0.0.1:8474.
//
//go:embed demo.yaml
var Demo []byte
