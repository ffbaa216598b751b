// The program container writes an OCI image of nothing but workers: one static binary for each platform, and the list
// of what is in it. It needs no daemon, no base image and no registry, and makes the same image of the same binaries.
//
//	go -C deploy/container run . -o ../../dist/image ../../dist/linux_amd64/worker ../../dist/linux_arm64/worker
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stderr io.Writer) error {
	flags := flag.NewFlagSet("container", flag.ContinueOnError)
	flags.SetOutput(stderr)
	out := flags.String("o", "", "where the image goes: a `FOLDER` (OCI layout), or a file that ends in .tar (the same in an archive)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *out == "" || flags.NArg() == 0 {
		return fmt.Errorf("usage: container -o FOLDER|FILE.tar BINARY…")
	}
	var workers []worker
	for _, path := range flags.Args() {
		w, err := open(ctx, path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		workers = append(workers, w)
	}
	index, err := build(workers)
	if err != nil {
		return err
	}
	if filepath.Ext(*out) == ".tar" {
		return writeArchive(*out, index)
	}
	return writeLayout(*out, index)
}
