package secrets_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"rekey/internal/apptest"
	"rekey/internal/jobs"
)

// gossip are answers of an API that repeats everything that it got, and more.
func gossip() map[string]func(secrets string) apptest.Reply {
	document := func(status int) func(string) apptest.Reply {
		return func(secrets string) apptest.Reply {
			data, err := json.Marshal(map[string]any{
				"error": status, "errorCode": secrets, "reason": secrets, "detail": "You sent " + secrets, "parameters": []string{secrets},
			})
			if err != nil {
				panic(err) // Plain values always have a JSON form.
			}
			r := apptest.JSONReply(status, string(data))
			r.Header["X-Request-Id"] = []string{secrets}
			r.Header["Retry-After"] = []string{"0"}
			return r
		}
	}
	answers := map[string]func(string) apptest.Reply{
		"good": func(secrets string) apptest.Reply {
			return apptest.Reply{Header: http.Header{"X-Request-Id": {secrets}}}
		},
		"oauth": func(s string) apptest.Reply {
			return apptest.JSONReply(400, apptest.Encoded(map[string]any{"error": s, "error_description": s}))
		},
		"redirect": func(s string) apptest.Reply {
			return apptest.Reply{Status: 307, Header: http.Header{"Location": {"/elsewhere?" + s}}, Body: s}
		},
		"html": func(s string) apptest.Reply {
			return apptest.Reply{Status: 200, Header: http.Header{"Content-Type": {"text/html"}}, Body: "<p>" + s}
		},
		"text":      func(s string) apptest.Reply { return apptest.Reply{Status: 502, Body: s} },
		"no HTTP":   func(s string) apptest.Reply { return apptest.Reply{Raw: "Your secret is " + s + "\r\n\r\n"} },
		"no header": func(s string) apptest.Reply { return apptest.Reply{Raw: "HTTP/1.1 200 OK\r\n" + s + "\r\n\r\n"} },
		"cut off": func(s string) apptest.Reply {
			return apptest.Reply{Raw: "HTTP/1.1 500 No\r\nContent-Length: 9999\r\n\r\n{\"detail\":\"" + s}
		},
		"chunks": func(s string) apptest.Reply {
			return apptest.Reply{Raw: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + s + "\r\n"}
		},
	}
	for _, status := range []int{200, 400, 401, 403, 404, 409, 429, 500, 503} {
		answers[strconv.Itoa(status)] = document(status)
	}
	return answers
}

func TestSecretsDoNotLeak(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Retry.MaxAttempts = 2
	secrets := apptest.Canaries{
		"client secret": rig.ClientSecret, "private key": rig.PrivateKey,
		"token": "canary/" + rand.Text() + "+t=", "bearer token": "canary." + rand.Text(),
	}
	answers := gossip()
	names := slices.Sorted(maps.Keys(answers))
	// The API gets things in a request, and knows the account's secret.
	told := func(c *apptest.Call) string {
		own := secrets["client secret"]
		if strings.HasPrefix(c.Authorization(), "Digest ") {
			own = secrets["private key"]
		}
		return c.Authorization() + " " + own + " " + c.Body
	}
	seen := map[string]bool{} // Guarded by the stand-in's lock.
	pick := func(c *apptest.Call, n int) *apptest.Reply {
		name := names[n%len(names)]
		if name == "429" && seen[c.URI+c.Body] {
			name = "500" // A rate limit spends no attempt and would go on without end.
		}
		seen[c.URI+c.Body] = true
		r := answers[name](told(c))
		return &r
	}
	atlas.Script(apptest.TokenPath, apptest.JSONReply(200, apptest.Encoded(map[string]any{"access_token": secrets["bearer token"], "token_type": "Bearer", "expires_in": 3600})).Always())
	atlas.Script(apptest.RevokePath, apptest.Reply{Forever: true, Write: func(c *apptest.Call) *apptest.Reply {
		_, number, _ := strings.Cut(c.Body, url.QueryEscape(secrets["token"]))
		number, _, _ = strings.Cut(number, "&")
		n, err := strconv.Atoi(number)
		if err != nil {
			return &apptest.Reply{Status: http.StatusTeapot} // It is no token of this test.
		}
		return pick(c, n)
	}})
	atlas.Script(apptest.AdminPath, apptest.Reply{Forever: true, Write: func(c *apptest.Call) *apptest.Reply { return pick(c, lastID(c.URI)) }})
	w := rig.Start(t)
	published := publishEveryKind(w, secrets["token"], len(names))
	w.Results(published)
	w.Settled()
	checkReached(t, atlas, secrets)
	secrets.SearchEverything(t, w)
}

// lastID is the number of the last id in a path.
func lastID(uri string) int {
	for _, part := range slices.Backward(strings.Split(uri, "/")) {
		if n, err := strconv.ParseInt(part, 16, 64); err == nil && len(part) == 24 {
			return int(n)
		}
	}
	return 0
}

// publishEveryKind asks for all kinds in turn, n times with each way to authenticate, and returns
// how many jobs that makes.
func publishEveryKind(w *apptest.Worker, token string, n int) int {
	w.T.Helper()
	published := 0
	publish := func(r apptest.Request) {
		w.Publish("incident", r.String())
		published++
	}
	for i := range n {
		publish(apptest.TokenRevoke(token + strconv.Itoa(i)))
		id := apptest.HexID(i)
		kinds := []apptest.Request{apptest.X509Disable(id), apptest.JwksRevoke(id), apptest.IdpDelete(id), apptest.RoleMappingDelete(id)}
		publish(kinds[i%4])
		publish(kinds[(i+1)%4].With("account", apptest.Legacy))
	}
	return published
}

// checkReached makes sure that there was something to leak.
func checkReached(t *testing.T, atlas *apptest.StandIn, secrets apptest.Canaries) {
	t.Helper()
	sent := map[string]bool{}
	for _, c := range atlas.Requests("") {
		for name, form := range secrets.Forms() {
			if strings.Contains(c.Authorization()+c.Body, form) {
				sent[name] = true
			}
		}
	}
	for _, want := range []string{"token in a URL", "bearer token", "client secret in the header of RFC 7617"} {
		if !sent[want] {
			t.Errorf("the API never saw the %s", want)
		}
	}
}

func TestSecretsDoNotLeakFromTheTokenEndpoint(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Retry.MaxAttempts, rig.Cfg.Worker.Concurrency = 1, 1
	secrets := apptest.Canaries{"client secret": rig.ClientSecret}
	answers := gossip()
	delete(answers, "good") // With a token the worker would not ask for another.
	for _, name := range slices.Sorted(maps.Keys(answers)) {
		atlas.Script(apptest.TokenPath, apptest.Reply{Write: func(c *apptest.Call) *apptest.Reply {
			r := answers[name](c.Authorization() + " " + rig.ClientSecret + " " + c.Body)
			return &r
		}})
	}
	w := rig.Start(t)
	for n := range len(answers) {
		w.Publish("incident", apptest.X509Disable(apptest.HexID(n)).String())
	}
	w.Results(len(answers))
	if got := len(atlas.Requests(apptest.TokenPath)); got < len(answers) {
		t.Errorf("got %d requests for a token, want one for each of %d answers", got, len(answers))
	}
	secrets.SearchEverything(t, w)
}

func TestSecretsDoNotLeakFromMalformedEvents(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	w := rig.Start(t)
	token := "canary" + rand.Text() + rand.Text() // No name of a parameter is that long.
	secrets := apptest.Canaries{"token": token, "client secret": "mdb_sa_sk_" + rand.Text()}
	good := apptest.TokenRevoke(token)
	params := func(p any) string { return good.With("params", p).String() }
	events := []string{
		good.With("kind", "token.revok").String(),
		good.Without("kind").String(),
		good.With("account", "unknown").String(),
		good.With("account", apptest.Legacy).String(),
		good.With("prio", 1).String(),
		good.With("expires_at", "2020-01-01T00:00:00Z").String(),
		good.With("kind", "jwks.revoke").String(),
		good.Without("params").With("token", token).String(),
		good.Without("params").With("access_token", token).String(),
		good.Without("params").With("Token", []string{token}).String(),
		good.Without("params").With("parameters", map[string]any{"t": token}).String(),
		good.Without("params").With("client_secret", secrets["client secret"]).String(),
		good.With("reason", secrets["client secret"]).With("prio", 1).String(),
		params(token), params([]string{token}), params(map[string]any{"token": token, "token_file": "/run/token"}),
		params(map[string]any{"tokn": token}), params(map[string]any{"value": token}), params(map[string]any{token: "token"}),
		params(map[string]any{"token": token + " " + token}), params(map[string]any{"token": map[string]any{"value": token}}),
		params(map[string]any{"token": []any{[]any{token}}}), params(map[string]any{"federation_id": token}),
		params(map[string]any{"token_file": token}), params(map[string]any{"token": token + "\n"}),
		good.String()[:len(good.String())-1],
		good.String() + good.String(),
		good.String() + " " + token,
		"[" + good.String() + "]",
		apptest.Encoded(good.String()),
		strings.ReplaceAll(good.String(), `"`, `'`),
		"kind=token.revoke token=" + token,
		"kind: token.revoke\nparams:\n  token: " + token + "\n",
		strings.Replace(good.String(), apptest.Security, "\xff", 1),
		strings.Repeat("[", 40) + good.String() + strings.Repeat("]", 40),
		good.With("reason", strings.Repeat("x", 2000)).String(),
		good.With("reason", strings.Repeat("x", 2_000_000)).String(),
		good.CloudEvent("urn:siem", ""),
		strings.Replace(good.CloudEvent("urn:siem", "1"), "rekey.job.requested.v1", "com.example", 1),
		apptest.Encoded(map[string]any{
			"specversion": "1.0", "id": "2", "source": "urn:siem", "type": "com.example",
			"data_base64": base64.StdEncoding.EncodeToString([]byte(good.String())),
		}),
	}
	for _, payload := range events {
		w.Publish("incident", payload)
	}
	w.Publish("incident", "{}", "ce-specversion", "1.0", "ce-token", token, "Authorization", "Bearer "+token)
	letters := w.Letters(len(events) + 1)
	if got := len(letters); got != len(events)+1 {
		t.Errorf("got %d dead letters, want %d", got, len(events)+1)
	}
	w.Settled()
	secrets.SearchEverything(t, w)
}

func TestSecretsDoNotLeakIntoTheLedgerOfJobs(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	w := rig.Start(t)
	token := "canary" + rand.Text()
	w.Publish("incident", apptest.TokenRevoke(token).String())
	if got := w.Results(1)[0].Record; got.Outcome != jobs.OutcomeRevoked || got.Params["token"] != apptest.Fingerprint(token) {
		t.Errorf("the record is %s, want revoked and the fingerprint", apptest.Encoded(got))
	}
	apptest.Canaries{"token": token}.SearchEverything(t, w)
}

// TestSecretsDoNotLeakAsTheNamesOfTheirEvents: who wants no job twice may take the token itself for
// the id of the event. Ids are kept and shown.
func TestSecretsDoNotLeakAsTheNamesOfTheirEvents(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	w := rig.Start(t)
	tokens := apptest.Canaries{"message id": apptest.Canary(), "id": apptest.Canary(), "source": apptest.Canary(), "type": apptest.Canary(), "subject": apptest.Canary(), "class": apptest.Canary()}
	w.Publish("incident", apptest.TokenRevoke(tokens["message id"]).String(), nats.MsgIdHdr, tokens["message id"])
	w.Publish("siem."+tokens["class"], apptest.TokenRevoke(tokens["class"]).String())
	for _, name := range []string{"id", "source", "subject"} {
		event := map[string]any{
			"specversion": "1.0", "type": "rekey.job.requested.v1", "id": "1", "source": "urn:siem",
			"data": json.RawMessage(apptest.TokenRevoke(tokens[name]).String()),
		}
		event[name] = "urn:" + tokens[name]
		w.Publish("incident", apptest.Encoded(event))
	}
	w.Publish("incident", apptest.Encoded(map[string]any{
		"specversion": "1.0", "type": "of the kind mdb_sa_sk_" + tokens["type"], "id": "1", "source": "urn:siem",
	}))
	reasons := ""
	for _, letter := range w.Letters(6) {
		reasons += letter.Header.Get("Rekey-Reason") + "\n"
	}
	for _, field := range []string{"id", "source", "type", "subject", "NATS subject"} {
		if !strings.Contains("\n"+reasons, "\n"+field+": must not hold a credential") {
			t.Errorf("no reason names %s:\n%s", field, reasons)
		}
	}
	w.Settled()
	tokens.SearchEverything(t, w)
	for name, token := range tokens {
		if atlas.Revoked(token) != 0 {
			t.Errorf("the token that is the %s was revoked, and is a dead letter, too", name)
		}
	}
}
