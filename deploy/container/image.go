package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// unprivileged is the user and group that the worker runs as: no root, and no number that a machine gives to people.
const unprivileged = 65532

// build makes what a layout holds: an index with an image for each worker, under the name by which a local engine
// knows it when it is loaded.
func build(workers []worker) (v1.ImageIndex, error) {
	images, err := images(workers)
	if err != nil {
		return nil, err
	}
	version := workers[0].version
	outer := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	return mutate.AppendManifests(outer, mutate.IndexAddendum{Add: images, Descriptor: v1.Descriptor{
		Annotations: map[string]string{
			"org.opencontainers.image.ref.name": version,
			"io.containerd.image.name":          "docker.io/library/rekey:" + version,
		},
	}}), nil
}

// images is an index with an image for each worker.
func images(workers []worker) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, w := range workers {
		image, err := w.image()
		if err != nil {
			return nil, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: w.arch}, Annotations: w.annotations()},
		})
	}
	return index, nil
}

// annotations are those of the OCI image specification.
func (w worker) annotations() map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":       "rekey",
		"org.opencontainers.image.description": "Takes credentials away when an event or a schedule says so.",
		"org.opencontainers.image.licenses":    "Apache-2.0",
		"org.opencontainers.image.version":     w.version,
		"org.opencontainers.image.revision":    w.revision,
		"org.opencontainers.image.created":     w.created.Format("2006-01-02T15:04:05Z07:00"),
	}
}

func (w worker) image() (v1.Image, error) {
	content, err := w.files()
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
		tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.Append(base, mutate.Addendum{Layer: layer, History: v1.History{
		Created: v1.Time{Time: w.created}, CreatedBy: "deploy/container",
	}})
	if err != nil {
		return nil, err
	}
	return mutate.ConfigFile(image, w.config(image))
}

// config tells how the image is run.
func (w worker) config(image v1.Image) *v1.ConfigFile {
	made, err := image.ConfigFile()
	if err != nil {
		panic(fmt.Sprintf("an image in memory has no configuration: %v", err))
	}
	config := made.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", w.arch, v1.Time{Time: w.created}
	config.Config = v1.Config{
		User:         fmt.Sprintf("%d:%d", unprivileged, unprivileged),
		Entrypoint:   []string{"/worker"},
		Cmd:          []string{"run", "-c", "/etc/rekey/worker.yaml"},
		WorkingDir:   "/var/lib/rekey",
		ExposedPorts: map[string]struct{}{"9464/tcp": {}},
		Labels:       w.annotations(),
	}
	return config
}

// files is the one layer as a tar archive, the same for the same worker: no names of users, one time for all.
func (w worker) files() ([]byte, error) {
	var buffer bytes.Buffer
	archive := tar.NewWriter(&buffer)
	for _, f := range []struct {
		name    string
		mode    int64
		owner   int
		content []byte // Nil makes a folder.
	}{
		{"etc/", 0o755, 0, nil},
		{"etc/rekey/", 0o755, 0, nil},
		{"usr/", 0o755, 0, nil},
		{"usr/share/", 0o755, 0, nil},
		{"usr/share/rekey/", 0o755, 0, nil},
		{"usr/share/rekey/sbom.cdx.json", 0o644, 0, w.sbom},
		{"var/", 0o755, 0, nil},
		{"var/lib/", 0o755, 0, nil},
		// A volume that is made for this folder takes its owner over.
		{"var/lib/rekey/", 0o700, unprivileged, nil},
		{"worker", 0o755, 0, w.binary},
	} {
		header := &tar.Header{
			Name: f.name, Mode: f.mode, Uid: f.owner, Gid: f.owner, Size: int64(len(f.content)), ModTime: w.created,
			Typeflag: tar.TypeReg, Format: tar.FormatPAX,
		}
		if f.content == nil {
			header.Typeflag = tar.TypeDir
		}
		if err := archive.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := archive.Write(f.content); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	return buffer.Bytes(), nil
}
