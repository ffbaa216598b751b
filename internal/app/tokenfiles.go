package app

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"rekey/internal/config"
)

// mayRead says, as an error, that a job may not have a file read as its token. An event can name
// any path: the worker's own secrets and store are never given to the API, and where
// intake.token_files lists folders, nothing outside of them is. The path has no symbolic links.
func mayRead(c *config.Config, path string) error {
	for _, own := range ownFiles(c) {
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

// ownFiles are the files that hold the worker's own secrets, and its store.
func ownFiles(c *config.Config) []string {
	n, e := c.NATS, c.NATS.Embedded
	own := []string{
		n.CredentialsFile, n.NKeyFile, n.Password.File, n.Token.File, n.TLS.KeyFile,
		e.Token.File, e.TLS.KeyFile, e.EncryptionKeyFile, c.Vault.Token.File, c.Intake.SigningSeed.File,
	}
	for _, a := range c.Atlas.Accounts {
		own = append(own, a.ClientSecret.File, a.PrivateKey.File)
	}
	for _, k := range c.Seal.Keys {
		own = append(own, k.Seed.File)
	}
	for _, t := range c.Notify {
		own = append(own, t.URL.File, t.SigningSecret.File)
	}
	if n.IsEmbedded() {
		own = append(own, filepath.Join(e.StoreDir, storeKey), filepath.Join(e.StoreDir, "jetstream"))
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
