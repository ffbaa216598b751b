package demo

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"rekey/internal/atlas/sandbox"
	"rekey/internal/config"
	"rekey/internal/deliver"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// rotationName is the name of the rotation, and of the service account that is rotated.
const rotationName = "deploy"

// useEvery is how often the user of the service account reads its secret and gets a token with it.
const useEvery = 300 * time.Millisecond

// rotation is the rotation of the demo: its user moves at once, so that the old secret need not be unused for long.
func rotation(dir string) config.Rotation {
	return config.Rotation{
		Name: rotationName, Account: "security", OrgID: sandbox.OrgID, ClientID: sandbox.RotatedClientID, Lifetime: 2160 * time.Hour, QuietFor: time.Second,
		WhenFull: config.WhenFullWait, Overdue: config.OverdueAlert, Deliver: []deliver.Config{{Type: deliver.TypeFile, Path: secretFile(dir)}},
	}
}

// secretFile is where the user of the service account reads its secret.
func secretFile(dir string) string { return filepath.Join(dir, rotationName) }

// rotate is an event that asks for the rotation.
func rotate() sandbox.DemoEvent {
	return sandbox.DemoEvent{
		Say: "plain JSON: rotate the client secret of a program that works on meanwhile", Class: jobs.ClassRotation,
		Payload: fmt.Sprintf(`{"kind":%q,"params":{%q:%q}}`, rotation("").Kind(), kinds.ParamRotation, rotationName),
	}
}

// user is a program that authenticates as the service account.
type user struct{ tokens, refused atomic.Int64 }

// startUser has a program use the service account at an API, with the secret that is in its file.
func (d *demo) startUser(ctx context.Context, api, dir string) error {
	value, _ := d.box.Secret(sandbox.RotatedSecretID)
	if err := os.WriteFile(secretFile(dir), []byte(value+"\n"), 0o600); err != nil {
		return fmt.Errorf("writing the secret that is to be rotated: %w", err)
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := begin(func() error {
		ticker := time.NewTicker(useEvery)
		defer ticker.Stop()
		for {
			select {
			case <-running.Done():
				return nil
			case <-ticker.C:
				d.user.use(running, api, secretFile(dir))
			}
		}
	})
	d.cleanups = append(d.cleanups, func() error { stop(); return <-ended })
	return nil
}

// use gets a token.
func (u *user) use(ctx context.Context, api, file string) {
	value, err := os.ReadFile(file)
	if err != nil {
		u.refused.Add(1)
		return
	}
	form := strings.NewReader(url.Values{"grant_type": {"client_credentials"}}.Encode())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, api+kinds.PathToken, form)
	if err != nil {
		u.refused.Add(1)
		return
	}
	req.SetBasicAuth(sandbox.RotatedClientID, strings.TrimSpace(string(value)))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	switch {
	case ctx.Err() != nil: // The demo is over.
	case err != nil:
		u.refused.Add(1)
	case answer.StatusCode != http.StatusOK:
		u.refused.Add(1)
	default:
		u.tokens.Add(1)
	}
	if err == nil {
		_ = answer.Body.Close() // What it holds is not read.
	}
}

// isRotated reports whether the service account has another secret than before, and no second one.
func (d *demo) isRotated() bool {
	accounts := d.box.State().Accounts
	i := slices.IndexFunc(accounts, func(a sandbox.AccountState) bool { return a.ID == sandbox.RotatedClientID })
	return i >= 0 && len(accounts[i].SecretIDs) == 1 && accounts[i].SecretIDs[0] != sandbox.RotatedSecretID
}
