package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"go.uber.org/zap"

	"rekey/internal/config"
	"rekey/internal/redact"
	"rekey/internal/secret"
)

// No line of the log shows a secret that the worker was given, nor what looks like one, in whichever field it comes, and
// each stays JSON. What people look for stays.
func TestTheLogIsDiscreet(t *testing.T) {
	t.Parallel()
	const given = `canary"with\quotes`
	known := redact.NewKnown(func(string) (string, bool) { return given, true })
	known.Use([]redact.Place{{Key: "a", Ref: secret.Ref{Env: "A"}}})
	for _, format := range []string{"json", "console"} {
		var out bytes.Buffer
		c := &cli{stderr: &out}
		log, _ := c.logger(config.Log{Format: format}, known)
		log.Info("said "+given, zap.Error(errors.New("from mongodb://u:canarypw@h: "+given)), zap.Strings("list", []string{given, "x"}),
			zap.Any("any", map[string]string{given: "mdb_sa_sk_canary1"}), zap.String("pem", "-----BEGIN PRIVATE KEY-----\ncanary\\"),
			zap.String("job_id", "3f9k2c8w5m1x7q0z4r6t8v2y9a"), zap.String("project", "5ec0000000000000000000f1"))
		line := out.String()
		if strings.Contains(line, "canary") || !strings.Contains(line, "3f9k2c8w5m1x7q0z4r6t8v2y9a") || !strings.Contains(line, "5ec0000000000000000000f1") {
			t.Errorf("%s: %s", format, line)
		}
		if format == "json" && !json.Valid(out.Bytes()) {
			t.Errorf("it is no JSON any more: %s", line)
		}
	}
}
