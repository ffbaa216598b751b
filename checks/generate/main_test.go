package main

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rekey/checks/repo"
)

func TestGeneratedFilesAreCurrent(t *testing.T) {
	root, err := repo.Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, generated := range []struct {
		name string
		make func(context.Context, string) (map[string][]byte, error)
	}{
		{"the dashboard", dashboard},
		{"schemas", schemas},
		{"the page about the configuration", configDocs},
		{"tables of kinds", kindTables},
		{"the chart's copies", copies},
		{"plain manifests", manifests},
	} {
		t.Run(generated.name, func(t *testing.T) {
			files, err := generated.make(t.Context(), root)
			if err != nil {
				t.Fatal(err)
			}
			if len(files) == 0 {
				t.Fatal("nothing is generated")
			}
			for name, want := range files {
				have, err := os.ReadFile(filepath.Join(root, name))
				if err != nil {
					t.Errorf("%v; run: make generate", err)
					continue
				}
				if diff := cmp.Diff(string(want), string(have)); diff != "" {
					t.Errorf("%s is not current; run: make generate (-want +have)\n%s", name, diff)
				}
			}
		})
	}
}

// A manifest whose object the chart no longer renders would be applied without end.
func TestNoOtherManifests(t *testing.T) {
	root, err := repo.Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	files, err := manifests(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Join(root, manifestsFolder))
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, entry := range entries {
		have = append(have, manifestsFolder+"/"+entry.Name())
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(files)), have); diff != "" {
		t.Errorf("files of %s (-rendered +there)\n%s", manifestsFolder, diff)
	}
}
