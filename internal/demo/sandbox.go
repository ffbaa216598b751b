package demo

import (
	"rekey/internal/atlas/sandbox"
)

// Environment variables that hold the sandbox's secrets, for it and for configs/demo.yaml.
const (
	EnvClientSecret = "REKEY_SANDBOX_CLIENT_SECRET"
	EnvPrivateKey   = "REKEY_SANDBOX_PRIVATE_KEY"
)

// NewSandbox builds a sandbox with the secrets of the environment. made are the variables whose secrets it had to make up.
func NewSandbox(cfg sandbox.Config, lookupEnv func(string) (string, bool)) (box *sandbox.Sandbox, made map[string]string, err error) {
	secrets, made := map[string]string{}, map[string]string{}
	for variable, id := range accounts() {
		if value, _ := lookupEnv(variable); value != "" {
			secrets[id] = value
		} else {
			made[variable] = id
		}
	}
	cfg.Secrets = secrets
	box, err = sandbox.New(cfg)
	return box, made, err
}

// accounts are the accounts of configs/demo.yaml by the variable of their secret.
func accounts() map[string]string {
	return map[string]string{EnvClientSecret: sandbox.ClientID, EnvPrivateKey: sandbox.PublicKey}
}
