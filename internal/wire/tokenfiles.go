package wire

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"rekey/internal/config"
	"rekey/internal/deliver"
)

// MayRead says, as an error, that a job may not have a file read as its token. An event can name
// any path: the worker's own secrets and store are never given to the API, and where
// intake.token_files lists folders, nothing outside of them is. The path has no symbolic links.
func MayRead(c *config.Config, path string, env Lookup) error {
	for _, own := range ownFiles(c, env) {
		if own != "" && isWithin(path, own) {
			return errors.New("it is one of the worker's own secrets, or in its store")
		}
	}
	for _, root := range c.Intake.TokenFiles {
		if isWithin(path, root) {
			return nil
		}
	}
	if len(c.Intake.TokenFiles) > 0 {
		return fmt.Errorf("it is not below one of intake.token_files")
	}
	return nil
}

// tokensOfAWS are environment variables that name files with what a worker shows to AWS.
var tokensOfAWS = []string{"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"}

// ownFiles are the files that hold the worker's own secrets, those that its pod was given included, and its store.
func ownFiles(c *config.Config, env Lookup) []string {
	own := []string{deliver.PodFolder}
	for _, name := range tokensOfAWS {
		file, _ := env(name)
		own = append(own, file)
	}
	for _, place := range c.Secrets() {
		own = append(own, place.Ref.File)
	}
	if dir := c.NATS.Embedded.StoreDir; c.NATS.IsEmbedded() {
		own = append(own, filepath.Join(dir, StoreKey), filepath.Join(dir, "jetstream"))
	}
	return own
}

// isWithin reports whether a path is a file, or in a folder, that the configuration names.
func isWithin(path, root string) bool {
	absolute, err := filepath.Abs(root)
	if err != nil {
		return false
	}
	if followed, err := filepath.EvalSymlinks(absolute); err == nil {
		absolute = followed
	}
	below, err := filepath.Rel(absolute, path)
	return err == nil && below != ".." && !strings.HasPrefix(below, ".."+string(filepath.Separator))
}
