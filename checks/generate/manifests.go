package main

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"rekey/checks/repo"
)

const manifestsFolder = "deploy/kubernetes"

// chartOnly are the lines that say where a manifest comes from, and are not true of a plain one.
var chartOnly = regexp.MustCompile(`(?m)^(# Source: .*| *helm\.sh/.*| *app\.kubernetes\.io/managed-by: .*)\n`)

var objectKind = regexp.MustCompile(`(?m)^kind: (\w+)$`)

const namespaceManifest = `apiVersion: v1
kind: Namespace
metadata:
  name: rekey
  labels:
    pod-security.kubernetes.io/enforce: restricted
`

// manifests renders the chart with deploy/helm/values/plain.yaml into one file for each object, with a kustomization.
func manifests(ctx context.Context, _ string) (map[string][]byte, error) {
	out, err := repo.Helm(ctx, "template", "rekey", repo.Chart, "--namespace", "rekey",
		"--values", "deploy/helm/values/plain.yaml", "--kube-version", "1.30.0")
	if err != nil {
		return nil, err
	}
	const head = "# Rendered from deploy/helm/rekey by \"make generate\".\n"
	files := map[string][]byte{manifestsFolder + "/namespace.yaml": []byte(head + namespaceManifest)}
	names := []string{"namespace.yaml"}
	for document := range bytes.SplitSeq(out, []byte("---\n")) {
		kind := objectKind.FindSubmatch(document)
		if kind == nil {
			continue
		}
		name := strings.ToLower(string(kind[1])) + ".yaml"
		if slices.Contains(names, name) {
			return nil, fmt.Errorf("the chart renders two objects of the kind %s: find another name for one", kind[1])
		}
		names = append(names, name)
		files[manifestsFolder+"/"+name] = append([]byte(head), chartOnly.ReplaceAll(document, nil)...)
	}
	slices.Sort(names[1:]) // The namespace stays first.
	kustomization := bytes.NewBufferString(head + "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: rekey\nresources:\n")
	for _, name := range names {
		kustomization.WriteString("  - " + name + "\n")
	}
	files[manifestsFolder+"/kustomization.yaml"] = kustomization.Bytes()
	return files, nil
}
