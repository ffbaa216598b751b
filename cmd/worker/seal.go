package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"rekey/internal/credential"
	"rekey/internal/event"
	"rekey/internal/seal"
	"rekey/internal/secret"
	"rekey/internal/terminal"
	"rekey/internal/wire"
)

func (c *cli) keygenCommand() *cobra.Command {
	var signing bool
	cmd := c.withOutput(&cobra.Command{
		Use:   "keygen FILE|-",
		Short: "Make a key pair for sealed values, or for signed events",
		Long: `Make an X25519 key pair (a NATS curve key, "xkey") for sealed values. The private key, a seed, goes
into a new file that only you can read, or to standard output for "-"; name the file in seal.keys of
the workers' configuration. The public key, which is no secret, is shown: give it to each sender that seals.

To rotate, put the new key before the old one in seal.keys, and take the old one out when nothing
is sealed to it any more.

With --signing it is an Ed25519 pair (a NATS user's nkey) for signed events: the private key is for
the publisher (intake.signing_seed_file), the public one for intake.signers of the workers.`,
		Example: "  worker keygen /etc/rekey/seal.key\n  worker keygen - > seal.key\n  worker keygen --signing producer.nk",
		Args:    want("FILE"),
		RunE:    func(_ *cobra.Command, list []string) error { return c.keygen(list[0], signing) },
	})
	cmd.Flags().BoolVar(&signing, "signing", false, "make a key that signs events")
	return cmd
}

// generated is what `keygen -o json` shows.
type generated struct {
	PublicKey string `json:"public_key"`
	File      string `json:"file,omitempty"`
}

func (c *cli) keygen(file string, signing bool) error {
	seed, public, err := newPair(signing)
	if err != nil {
		return err
	}
	if file == "-" {
		fmt.Fprintf(c.stderr, "public key: %s\n", public)
		fmt.Fprintln(c.stdout, seed.Reveal())
		return nil
	}
	if err := wire.WriteSeed(file, seed); err != nil {
		return fmt.Errorf("writing the private key: %w", err)
	}
	return c.print(generated{PublicKey: public, File: file}, func(t *terminal.Table) {
		t.Row("public key", public)
		t.Row("private key", file)
	})
}

// newPair makes a key pair for sealed values, or for signed events.
func newPair(signing bool) (seed secret.Value, public string, err error) {
	if signing {
		key, public, err := event.GenerateSigningKey()
		return key.Seed(), public, err
	}
	key, err := seal.Generate()
	if err != nil {
		return secret.Value{}, "", err
	}
	return key.Seed(), key.ID(), nil
}

func (c *cli) sealCommand() *cobra.Command {
	var key string
	cmd := c.withOutput(c.withConfig(&cobra.Command{
		Use:   "seal [FILE|-]",
		Short: "Seal a token to the workers' key",
		Long: `Seal a bearer token from a file or standard input, so that only the workers can open it. What comes
out goes into an event as params.token_sealed. White space around the token and a byte order mark are
left out. What is known to be no bearer token, such as a client secret, a connection string or a
placeholder, is refused here, and would be by the worker: the API says 200 to anything.

The key is --key, a public key as 'worker keygen' shows it and a worker logs it when it is ready
(seal_key). Without it, the key is that of the configuration, where its secrets can be read.`,
		Example: `  worker seal --key XBI26AACPSWNIJ4EDXYABK7LDRRM5LI5HDWGMGTBOOEGKM7S4KKSAGXX < token.txt
  worker seal -c configs/demo.yaml token.txt`,
		Args: func(cmd *cobra.Command, list []string) error {
			if len(list) > 1 {
				return usagef("too many arguments; the form is: %s", cmd.UseLine())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, list []string) error {
			return c.seal(append(list, "-")[0], key)
		},
	}))
	cmd.Flags().StringVar(&key, "key", "", "public `KEY` to seal to (default: that of the configuration)")
	return cmd
}

// sealedValue is what `seal -o json` shows.
type sealedValue struct {
	Sealed      string `json:"sealed"`
	KeyID       string `json:"key_id"`
	Fingerprint string `json:"fingerprint"` // As jobs and results show it.
}

func (c *cli) seal(file, key string) error {
	key, err := c.sealingKey(key)
	if err != nil {
		return err
	}
	value, err := c.readSecret(file)
	if err != nil {
		return err
	}
	if value.IsZero() {
		return fmt.Errorf("%s holds nothing to seal", inputName(file))
	}
	if detail := credential.CheckToken(value.Reveal()); detail != "" {
		return usagef("what is in %s %s", inputName(file), detail)
	}
	text, err := seal.Seal(key, value)
	if err != nil {
		return err
	}
	result := sealedValue{Sealed: text, KeyID: key, Fingerprint: value.Fingerprint()}
	return c.print(result, func(t *terminal.Table) { t.Verbatim(text) })
}

// readSecret reads a secret from a file or, for "-", from standard input, as secrets' files are read: one line of text.
func (c *cli) readSecret(file string) (secret.Value, error) {
	data, err := c.read(file)
	if err != nil {
		return secret.Value{}, err
	}
	text, err := secret.Text(data)
	line := text
	if err == nil {
		line, err = secret.OneLine(text)
	}
	switch {
	case err == nil:
		return secret.New(strings.TrimSpace(line)), nil
	case credential.Identify(text).What != "": // Which says more than that it has several lines.
		return secret.New(strings.TrimSpace(text)), nil
	}
	return secret.Value{}, usagef("%s: %w", inputName(file), err)
}

func (c *cli) sealingKey(key string) (string, error) {
	if key != "" {
		if err := seal.CheckPublic(key); err != nil {
			return "", usagef("--key %w", err)
		}
		return key, nil
	}
	cfg, err := c.config()
	if err != nil {
		return "", err
	}
	key, err = wire.SealingKey(cfg, c.lookupEnv)
	if err != nil {
		return "", fmt.Errorf("finding the key to seal to (--key names one): %w", err)
	}
	return key, nil
}
