package main

import (
	"runtime"
	"text/tabwriter"
)

// versionInfo is what `worker version` shows.
type versionInfo struct {
	Version   string `json:"version"`
	Revision  string `json:"revision"`
	GoVersion string `json:"go_version"`
}

func (c *cli) showVersion() error {
	release, revision := buildVersion()
	info := versionInfo{Version: release, Revision: revision, GoVersion: runtime.Version()}
	return c.print(info, func(t *tabwriter.Writer) {
		row(t, "rekey", info.Version)
		row(t, "revision", info.Revision)
		row(t, "go", info.GoVersion)
	})
}
