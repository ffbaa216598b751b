// The program generate writes the files that are made from others: the chart's copies of the alert rules and the
// dashboard, the dashboard itself, the plain manifests, and the documents and schemas of the configuration and of events. Run it as "make generate"; its test fails while they are not current.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"rekey/checks/repo"
)

func main() {
	if err := generate(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func generate(ctx context.Context) error {
	root, err := repo.Root(ctx)
	if err != nil {
		return err
	}
	// The manifests are rendered from the chart, which has copies in it, one of them of the dashboard.
	for _, produce := range []func(context.Context, string) (map[string][]byte, error){dashboard, schemas, configDocs, kindTables, copies, manifests} {
		files, err := produce(ctx, root)
		if err != nil {
			return err
		}
		for name, content := range files {
			if err := os.WriteFile(filepath.Join(root, name), content, 0o644); err != nil { //nolint:gosec // To be read by all.
				return err
			}
		}
	}
	return nil
}

// copies are the files that a chart must hold itself, because Helm takes nothing from outside of it.
func copies(_ context.Context, root string) (map[string][]byte, error) {
	files := map[string][]byte{}
	for from, to := range map[string]string{
		"deploy/prometheus/rekey.rules.yml": repo.Chart + "/files/rekey.rules.yml",
		dashboardFile:                       repo.Chart + "/files/rekey.json",
	} {
		content, err := os.ReadFile(filepath.Join(root, from))
		if err != nil {
			return nil, err
		}
		files[to] = content
	}
	return files, nil
}
