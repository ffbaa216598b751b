package app_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rekey/internal/jobs"
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

// TestNothingElseIsRevoked takes what is no token through every way in. The API would say 200 to all of it; it is not asked.
func TestNothingElseIsRevoked(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.env["VAULT"] = "hvs." + canary()
	rig.cfg.Vault.Token = secret.Ref{Env: "VAULT"}
	rig.cfg.Policies.List = []policy.Rule{leakPolicy()}
	stored := "mdb_sa_sk_" + rand.Text()
	rig.cfg.Vault.Address = vaultWith(t, rig.env["VAULT"], stored)
	w := rig.start(t)
	planted := canaries{"in the store": stored}
	ended, dead := map[string]string{"vault:rekey/leak#token": "the secret of a service account"}, 0
	w.publish("incident", newRequest(jobs.TokenRevoke, map[string]any{"token_ref": "vault:rekey/leak#token"}).String())
	folder := t.TempDir()
	for form, said := range noTokens {
		text := func(way string) string {
			nonce := rand.Text()
			planted[way+" "+said] = nonce
			return strings.ReplaceAll(form, "NONCE", nonce)
		}
		w.publish("incident", tokenRevoke(text("plain")).String())
		w.publish("siem", leak(text("policy")))
		dead += 2
		sealed := text("sealed")
		w.publish("incident", sealedRevoke(sealTo(t, rig.sealingKey(t), sealed)).String())
		ended[fingerprint(sealed)] = said
		file := filepath.Join(folder, fmt.Sprint(len(planted)))
		if err := os.WriteFile(file, []byte(text("file")), 0o600); err != nil {
			t.Fatal(err)
		}
		w.publish("incident", newRequest(jobs.TokenRevoke, map[string]any{"token_file": file}).String())
		ended["file:"+file] = said
	}
	w.results(len(ended))
	letters := w.letters(len(ended) + dead)
	w.settled()
	for target, said := range ended {
		r := w.lastResultOf(target)
		if r.Outcome != jobs.OutcomeRefused || len(r.Attempts) != 1 || r.Attempts[0].Reason != jobs.ReasonInvalid || r.Attempts[0].Status != 0 || !strings.Contains(r.Detail, said) {
			t.Errorf("%s ended as %s, want refused (invalid): %s", target, encoded(r), said)
		}
	}
	codes := map[string]int{}
	for _, letter := range letters {
		codes[letter.Header.Get("Rekey-Code")]++
	}
	if n := len(noTokens); codes["malformed"] != n || codes["policy"] != n {
		t.Errorf("the dead letters are %v, want %d malformed and %d of the policy", codes, n, n)
	}
	if asked := atlas.requests(""); len(asked) > 0 {
		t.Errorf("the API was asked %s %s", asked[0].method, asked[0].uri)
	}
	planted.searchEverything(t, w)
}

// TestEverySecretIsHidden plants secrets of every sort in what people write and in what the API answers, and looks
// for them in all that is left behind. What people need of it is still there.
func TestEverySecretIsHidden(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.Retry.MaxAttempts = 1
	rig.env["VAULT"] = "vault-" + rand.Text()
	rig.cfg.Vault.Address, rig.cfg.Vault.Token = "http://127.0.0.1:1", secret.Ref{Env: "VAULT"}
	hex := func() string { return strings.ToLower(fmt.Sprintf("%x", rand.Text()[:4])) }
	private := fmt.Sprintf("%s-%s-4%s-8%s-%s", hex(), hex()[:4], hex()[:3], hex()[:3], hex()+hex()[:4])
	planted := canaries{
		"password of a database": "pw" + rand.Text(), "private key": private, "PEM": rand.Text() + rand.Text(),
		"header": "h1" + rand.Text(), "GitHub token": rand.Text() + rand.Text(), "query": "q1" + rand.Text(),
		"other account's key": rig.privateKey, "Vault token": rig.env["VAULT"],
	}
	texts := []string{
		"found mongodb+srv://app:" + planted["password of a database"] + "@cluster0.example.net/db in a log",
		"key yhltsukm:" + private + " leaked", "private key " + private, "-----BEGIN PRIVATE KEY----- " + planted["PEM"] + " -----END PRIVATE KEY-----",
		"Authorization: Bearer " + planted["header"], "ghp_" + planted["GitHub token"], "GET /x?access_token=" + planted["query"],
	}
	const kept = "project 5ec0000000000000000000f1, incident:550e8400-e29b-41d4-a716-446655440000"
	// The detail is cut somewhere, so that each secret comes in one of its own.
	said := slices.Concat(texts, []string{rig.privateKey, rig.env["VAULT"]})
	asked := 0
	atlas.script(adminPath, reply{forever: true, write: func(*call) *reply {
		asked++
		answer := jsonReply(http.StatusConflict, encoded(map[string]any{"error": 409, "errorCode": "SOME_CODE", "detail": "no: " + said[asked%len(said)]}))
		return &answer
	}})
	w := rig.start(t)
	for i, text := range texts {
		w.publish("incident", x509Disable(hexID(i)).with("reason", text+" of "+kept).with("requested_by", "who saw "+text).String())
		w.publish("incident", x509Disable(hexID(i)).with("prio", text).with("reason", text).String())
	}
	w.results(len(texts))
	w.letters(2 * len(texts))
	w.settled()
	for i, text := range texts {
		r := w.resultOf("project/" + hexID(i))
		if !strings.Contains(r.Reason, kept) || !strings.Contains(r.Reason, "[redacted sha256:") {
			t.Errorf("of %s is left %s", text, r.Reason)
		}
	}
	planted.searchEverything(t, w)
}
