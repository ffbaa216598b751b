package main

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// writeLayout writes the index as an OCI layout into a folder, which is made anew.
func writeLayout(folder string, index v1.ImageIndex) error {
	if err := os.RemoveAll(filepath.Join(folder, "blobs")); err != nil {
		return err
	}
	_, err := layout.Write(folder, index)
	return err
}

// writeArchive writes the index as an archive, which "podman load", "docker load" and "skopeo copy oci-archive:" read.
func writeArchive(path string, index v1.ImageIndex) (err error) {
	folder, err := os.MkdirTemp("", "rekey-image-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	if err := writeLayout(folder, index); err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(file)
	// In the order of their names, and without times: the same image is the same archive.
	err = filepath.WalkDir(folder, func(name string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		return addFile(archive, folder, name)
	})
	return errors.Join(err, archive.Close(), file.Close())
}

func addFile(archive *tar.Writer, folder, name string) error {
	relative, err := filepath.Rel(folder, name)
	if err != nil {
		return err
	}
	content, err := os.Open(name)
	if err != nil {
		return err
	}
	defer content.Close() //nolint:errcheck // It was only read.
	info, err := content.Stat()
	if err != nil {
		return err
	}
	header := &tar.Header{
		Name: filepath.ToSlash(relative), Mode: 0o644, Size: info.Size(), ModTime: time.Unix(0, 0), Typeflag: tar.TypeReg, Format: tar.FormatPAX,
	}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(archive, content)
	return err
}
