package intake_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rekey/internal/apptest"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/policy"
	"rekey/internal/secret"
)

// noTokens are texts that are no bearer token, each with what is said of it. NONCE makes them unlike any other text.
var noTokens = map[string]string{
	"mdb_sa_sk_NONCE": "the secret of a service account",
	"mongodb+srv://u:NONCE@cluster0.example.net": "a connection string with a password",
	"Bearer NONCE":                     "a header Authorization",
	`{"access_token":"NONCE"}`:         "a JSON document",
	"ghp_NONCE":                        "a GitHub token",
	"eyJNONCE":                         "a part of a token",
	"NONCE\u200b":                      "is U+200B, a zero-width space",
	"NONCE and more":                   "is U+0020, a space",
	"-----BEGIN PRIVATE KEY-----NONCE": "a PEM block",
	"https://hooks.example.com/NONCE":  "a URL",
	"bWRiX3NhX2lkXzAxMjM0NTY3ODlhYmNkZWYwMTIzNONCE": "id and secret of a service account in base64",
}

// TestNothingElseIsRevoked sends texts that are no tokens through every way in. The API would say 200 to all of it; it is not asked.
func TestNothingElseIsRevoked(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Env["VAULT"] = "hvs." + apptest.Canary()
	rig.Cfg.Vault.Token = secret.Ref{Env: "VAULT"}
	rig.Cfg.Policies.List = []policy.Rule{apptest.LeakPolicy()}
	stored := "mdb_sa_sk_" + rand.Text()
	rig.Cfg.Vault.Address = apptest.VaultWith(t, rig.Env["VAULT"], stored)
	w := rig.Start(t)
	planted := apptest.Canaries{"in the store": stored}
	ended, dead := map[string]string{"vault:rekey/leak#token": "the secret of a service account"}, 0
	w.Publish("incident", apptest.NewRequest(kinds.TokenRevoke, map[string]any{"token_ref": "vault:rekey/leak#token"}).String())
	folder := t.TempDir()
	for form, said := range noTokens {
		text := func(way string) string {
			nonce := rand.Text()
			planted[way+" "+said] = nonce
			return strings.ReplaceAll(form, "NONCE", nonce)
		}
		w.Publish("incident", apptest.TokenRevoke(text("plain")).String())
		w.Publish("siem", apptest.Leak(text("policy")))
		dead += 2
		sealed := text("sealed")
		w.Publish("incident", apptest.SealedRevoke(apptest.SealTo(t, rig.SealingKey(t), sealed)).String())
		ended[apptest.Fingerprint(sealed)] = said
		file := filepath.Join(folder, fmt.Sprint(len(planted)))
		if err := os.WriteFile(file, []byte(text("file")), 0o600); err != nil {
			t.Fatal(err)
		}
		w.Publish("incident", apptest.NewRequest(kinds.TokenRevoke, map[string]any{"token_file": file}).String())
		ended["file:"+file] = said
	}
	w.Results(len(ended))
	letters := w.Letters(len(ended) + dead)
	w.Settled()
	for target, said := range ended {
		r := w.LastResultOf(target)
		if r.Outcome != jobs.OutcomeRefused || len(r.Attempts) != 1 || r.Attempts[0].Reason != jobs.ReasonInvalid || r.Attempts[0].Status != 0 || !strings.Contains(r.Detail, said) {
			t.Errorf("%s ended as %s, want refused (invalid): %s", target, apptest.Encoded(r), said)
		}
	}
	codes := map[string]int{}
	for _, letter := range letters {
		codes[letter.Header.Get("Rekey-Code")]++
	}
	if n := len(noTokens); codes["malformed"] != n || codes["policy"] != n {
		t.Errorf("the dead letters are %v, want %d malformed and %d of the policy", codes, n, n)
	}
	if asked := atlas.Requests(""); len(asked) > 0 {
		t.Errorf("the API was asked %s %s", asked[0].Method, asked[0].URI)
	}
	planted.SearchEverything(t, w)
}

// TestEverySecretIsHidden plants secrets of every sort in what people write and in what the API answers, and looks
// for them in all that is left behind. What people need of it is still there.
func TestEverySecretIsHidden(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Retry.MaxAttempts = 1
	rig.Env["VAULT"] = "vault-" + rand.Text()
	rig.Cfg.Vault.Address, rig.Cfg.Vault.Token = "http://127.0.0.1:1", secret.Ref{Env: "VAULT"}
	digits := func() string { return strings.ToLower(fmt.Sprintf("%x", rand.Text()[:4])) }
	private := fmt.Sprintf("%s-%s-4%s-8%s-%s", digits(), digits()[:4], digits()[:3], digits()[:3], digits()+digits()[:4])
	planted := apptest.Canaries{
		"password of a database": "pw" + rand.Text(), "private key": private, "PEM": rand.Text() + rand.Text(),
		"header": "h1" + rand.Text(), "GitHub token": rand.Text() + rand.Text(), "query": "q1" + rand.Text(),
		"JSON": rand.Text(), "behind a line break": rand.Text(), "encoded": rand.Text(), "option": rand.Text(), "cluster": rand.Text(),
		"other account's key": rig.PrivateKey, "Vault token": rig.Env["VAULT"],
	}
	texts := []string{
		"found mongodb+srv://app:" + planted["password of a database"] + "@cluster0.example.net/db in a log",
		"key yhltsukm:" + private + " leaked", "private key " + private, "-----BEGIN PRIVATE KEY----- " + planted["PEM"] + " -----END PRIVATE KEY-----",
		"Authorization: Bearer " + planted["header"], "ghp_" + planted["GitHub token"], "GET /x?access_token=" + planted["query"],
		`{"client_secret":"` + planted["JSON"] + `"}`, "mdb%5Fsa%5Fsk%5F" + planted["encoded"],
		"mongosh --password " + planted["option"], "u:" + planted["cluster"] + "@cluster0.x.mongodb.net",
	}
	const kept = "project 5ec0000000000000000000f1, incident:550e8400-e29b-41d4-a716-446655440000"
	// The detail is cut somewhere, so that each secret comes in one of its own.
	said := slices.Concat(texts, []string{rig.PrivateKey, rig.Env["VAULT"]})
	asked := 0
	atlas.Script(apptest.AdminPath, apptest.Reply{Forever: true, Write: func(*apptest.Call) *apptest.Reply {
		asked++
		answer := apptest.JSONReply(http.StatusConflict, apptest.Encoded(map[string]any{"error": 409, "errorCode": "SOME_CODE", "detail": "no: " + said[asked%len(said)]}))
		return &answer
	}})
	w := rig.Start(t)
	for i, text := range texts {
		w.Publish("incident", apptest.X509Disable(apptest.HexID(i)).With("reason", text+" of "+kept).With("requested_by", "who saw "+text).String())
		w.Publish("incident", apptest.X509Disable(apptest.HexID(i)).With("prio", text).With("reason", text).String())
	}
	w.Publish("incident", apptest.X509Disable(apptest.HexID(0)).With("reason", "pw\npassword: "+planted["behind a line break"]).String())
	w.Results(len(texts))
	w.Letters(2*len(texts) + 1)
	w.Settled()
	for i, text := range texts {
		r := w.ResultOf("project/" + apptest.HexID(i))
		if !strings.Contains(r.Reason, kept) || !strings.Contains(r.Reason, "[redacted sha256:") {
			t.Errorf("of %s is left %s", text, r.Reason)
		}
	}
	planted.SearchEverything(t, w)
}

// TestOwnSecretsAreHidden has events that repeat secrets of the configuration, in the ways in which tools write them: nothing
// that is kept shows them, nor does the stream of events.
func TestOwnSecretsAreHidden(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	rig.Env["VAULT"] = "vault_" + rand.Text()
	rig.Cfg.Vault.Address, rig.Cfg.Vault.Token = "http://127.0.0.1:1", secret.Ref{Env: "VAULT"}
	random := make([]byte, 16)
	_, _ = rand.Read(random) // It returns no error.
	bare := hex.EncodeToString(random)
	key := strings.Join([]string{bare[:8], bare[8:12], bare[12:16], bare[16:20], bare[20:]}, "-")
	rig.Env["LEGACY_KEY"] = key
	planted := apptest.Canaries{
		"key": key, "upper case": strings.ToUpper(key), "bare": bare, "bare, upper case": strings.ToUpper(bare),
		"percent-encoded": strings.ReplaceAll(key, "-", "%2D"), "base64": base64.StdEncoding.EncodeToString([]byte(key)),
		"Vault token": rig.Env["VAULT"], "Vault token, percent-encoded": strings.Replace(rig.Env["VAULT"], "_", "%5F", 1),
	}
	w := rig.Start(t)
	for i, form := range slices.Sorted(maps.Values(planted)) {
		w.Publish("incident", apptest.X509Disable(apptest.HexID(i)).With("reason", "leaked "+form).With("requested_by", form+" was seen").String())
		w.Publish("incident", apptest.X509Disable(form).With("reason", form).String())
	}
	w.Results(len(planted))
	w.Letters(len(planted))
	w.Settled()
	for i := range len(planted) {
		if r := w.ResultOf("project/" + apptest.HexID(i)); r.Reason != "leaked [secret]" || r.RequestedBy != "[secret] was seen" {
			t.Errorf("of %q is left: %s, %s", slices.Sorted(maps.Values(planted))[i], r.Reason, r.RequestedBy)
		}
	}
	planted.SearchEverything(t, w)
}
