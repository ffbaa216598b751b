package app_test

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

	"rekey/internal/jobs"
)

// gossip are answers of an API that repeats everything it was told, and more.
func gossip() map[string]func(secrets string) reply {
	document := func(status int) func(string) reply {
		return func(secrets string) reply {
			data, err := json.Marshal(map[string]any{
				"error": status, "errorCode": secrets, "reason": secrets, "detail": "You sent " + secrets, "parameters": []string{secrets},
			})
			if err != nil {
				panic(err) // Plain values always have a JSON form.
			}
			r := jsonReply(status, string(data))
			r.header["X-Request-Id"] = []string{secrets}
			r.header["Retry-After"] = []string{"0"}
			return r
		}
	}
	answers := map[string]func(string) reply{
		"good": func(secrets string) reply {
			return reply{header: http.Header{"X-Request-Id": {secrets}}}
		},
		"oauth": func(s string) reply {
			return jsonReply(400, encoded(map[string]any{"error": s, "error_description": s}))
		},
		"redirect": func(s string) reply {
			return reply{status: 307, header: http.Header{"Location": {"/elsewhere?" + s}}, body: s}
		},
		"html": func(s string) reply {
			return reply{status: 200, header: http.Header{"Content-Type": {"text/html"}}, body: "<p>" + s}
		},
		"text":      func(s string) reply { return reply{status: 502, body: s} },
		"no HTTP":   func(s string) reply { return reply{raw: "Your secret is " + s + "\r\n\r\n"} },
		"no header": func(s string) reply { return reply{raw: "HTTP/1.1 200 OK\r\n" + s + "\r\n\r\n"} },
		"cut off": func(s string) reply {
			return reply{raw: "HTTP/1.1 500 No\r\nContent-Length: 9999\r\n\r\n{\"detail\":\"" + s}
		},
		"chunks": func(s string) reply {
			return reply{raw: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + s + "\r\n"}
		},
	}
	for _, status := range []int{200, 400, 401, 403, 404, 409, 429, 500, 503} {
		answers[strconv.Itoa(status)] = document(status)
	}
	return answers
}

func TestSecretsDoNotLeak(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.Retry.MaxAttempts = 2
	secrets := canaries{
		"client secret": rig.clientSecret, "private key": rig.privateKey,
		"token": "canary/" + rand.Text() + "+t=", "bearer token": "canary." + rand.Text(),
	}
	answers := gossip()
	names := slices.Sorted(maps.Keys(answers))
	// The API is told things in a request, and knows the account's secret.
	told := func(c *call) string {
		own := secrets["client secret"]
		if strings.HasPrefix(c.authorization(), "Digest ") {
			own = secrets["private key"]
		}
		return c.authorization() + " " + own + " " + c.body
	}
	seen := map[string]bool{} // Guarded by the stand-in's lock.
	pick := func(c *call, n int) *reply {
		name := names[n%len(names)]
		if name == "429" && seen[c.uri+c.body] {
			name = "500" // A rate limit spends no attempt and would go on for ever.
		}
		seen[c.uri+c.body] = true
		r := answers[name](told(c))
		return &r
	}
	atlas.script(tokenPath, jsonReply(200, encoded(map[string]any{"access_token": secrets["bearer token"], "token_type": "Bearer", "expires_in": 3600})).always())
	atlas.script(revokePath, reply{forever: true, write: func(c *call) *reply {
		_, number, _ := strings.Cut(c.body, url.QueryEscape(secrets["token"]))
		number, _, _ = strings.Cut(number, "&")
		n, err := strconv.Atoi(number)
		if err != nil {
			return &reply{status: http.StatusTeapot} // It is no token of this test.
		}
		return pick(c, n)
	}})
	atlas.script(adminPath, reply{forever: true, write: func(c *call) *reply { return pick(c, lastID(c.uri)) }})
	w := rig.start(t)
	published := publishEveryKind(w, secrets["token"], len(names))
	w.results(published)
	w.settled()
	checkReached(t, atlas, secrets)
	secrets.searchEverything(t, w)
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
func publishEveryKind(w *worker, token string, n int) int {
	w.t.Helper()
	published := 0
	publish := func(r request) {
		w.publish("incident", r.String())
		published++
	}
	for i := range n {
		publish(tokenRevoke(token + strconv.Itoa(i)))
		id := hexID(i)
		kinds := []request{x509Disable(id), jwksRevoke(id), idpDelete(id), roleMappingDelete(id)}
		publish(kinds[i%4])
		publish(kinds[(i+1)%4].with("account", legacy))
	}
	return published
}

// checkReached makes sure that there was something to leak.
func checkReached(t *testing.T, atlas *standIn, secrets canaries) {
	t.Helper()
	sent := map[string]bool{}
	for _, c := range atlas.requests("") {
		for name, form := range secrets.forms() {
			if strings.Contains(c.authorization()+c.body, form) {
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
	rig, atlas := standInRig(t)
	rig.cfg.Retry.MaxAttempts, rig.cfg.Worker.Concurrency = 1, 1
	secrets := canaries{"client secret": rig.clientSecret}
	answers := gossip()
	delete(answers, "good") // With a token nobody would ask for another.
	for _, name := range slices.Sorted(maps.Keys(answers)) {
		atlas.script(tokenPath, reply{write: func(c *call) *reply {
			r := answers[name](c.authorization() + " " + rig.clientSecret + " " + c.body)
			return &r
		}})
	}
	w := rig.start(t)
	for n := range len(answers) {
		w.publish("incident", x509Disable(hexID(n)).String())
	}
	w.results(len(answers))
	if got := len(atlas.requests(tokenPath)); got < len(answers) {
		t.Errorf("got %d requests for a token, want one for each of %d answers", got, len(answers))
	}
	secrets.searchEverything(t, w)
}

func TestSecretsDoNotLeakFromEventsThatNobodyUnderstands(t *testing.T) {
	t.Parallel()
	rig, _ := standInRig(t)
	w := rig.start(t)
	token := "canary" + rand.Text() + rand.Text() // No name of a parameter is that long.
	secrets := canaries{"token": token, "client secret": "mdb_sa_sk_" + rand.Text()}
	good := tokenRevoke(token)
	params := func(p any) string { return good.with("params", p).String() }
	events := []string{
		good.with("kind", "token.revok").String(),
		good.without("kind").String(),
		good.with("account", "nobody").String(),
		good.with("account", legacy).String(),
		good.with("prio", 1).String(),
		good.with("expires_at", "2020-01-01T00:00:00Z").String(),
		good.with("kind", "jwks.revoke").String(),
		good.without("params").with("token", token).String(),
		good.without("params").with("access_token", token).String(),
		good.without("params").with("Token", []string{token}).String(),
		good.without("params").with("parameters", map[string]any{"t": token}).String(),
		good.without("params").with("client_secret", secrets["client secret"]).String(),
		good.with("reason", secrets["client secret"]).with("prio", 1).String(),
		params(token), params([]string{token}), params(map[string]any{"token": token, "token_file": "/run/token"}),
		params(map[string]any{"tokn": token}), params(map[string]any{"value": token}), params(map[string]any{token: "token"}),
		params(map[string]any{"token": token + " " + token}), params(map[string]any{"token": map[string]any{"value": token}}),
		params(map[string]any{"token": []any{[]any{token}}}), params(map[string]any{"federation_id": token}),
		params(map[string]any{"token_file": token}), params(map[string]any{"token": token + "\n"}),
		good.String()[:len(good.String())-1],
		good.String() + good.String(),
		good.String() + " " + token,
		"[" + good.String() + "]",
		encoded(good.String()),
		strings.ReplaceAll(good.String(), `"`, `'`),
		"kind=token.revoke token=" + token,
		"kind: token.revoke\nparams:\n  token: " + token + "\n",
		strings.Replace(good.String(), security, "\xff", 1),
		strings.Repeat("[", 40) + good.String() + strings.Repeat("]", 40),
		good.with("reason", strings.Repeat("x", 2000)).String(),
		good.with("reason", strings.Repeat("x", 2_000_000)).String(),
		good.cloudEvent("urn:siem", ""),
		strings.Replace(good.cloudEvent("urn:siem", "1"), "rekey.job.requested.v1", "com.example", 1),
		encoded(map[string]any{
			"specversion": "1.0", "id": "2", "source": "urn:siem", "type": "com.example",
			"data_base64": base64.StdEncoding.EncodeToString([]byte(good.String())),
		}),
	}
	for _, payload := range events {
		w.publish("incident", payload)
	}
	w.publish("incident", "{}", "ce-specversion", "1.0", "ce-token", token, "Authorization", "Bearer "+token)
	letters := w.letters(len(events) + 1)
	if got := len(letters); got != len(events)+1 {
		t.Errorf("got %d dead letters, want %d", got, len(events)+1)
	}
	w.settled()
	secrets.searchEverything(t, w)
}

func TestSecretsDoNotLeakIntoTheLedgerOfJobs(t *testing.T) {
	t.Parallel()
	rig, _ := standInRig(t)
	w := rig.start(t)
	token := "canary" + rand.Text()
	w.publish("incident", tokenRevoke(token).String())
	if got := w.results(1)[0].record; got.Outcome != jobs.OutcomeRevoked || got.Params["token"] != fingerprint(token) {
		t.Errorf("the record is %s, want revoked and the fingerprint", encoded(got))
	}
	canaries{"token": token}.searchEverything(t, w)
}

// TestSecretsDoNotLeakAsTheNamesOfTheirEvents: who wants no job twice may take the token itself for
// the id of the event. Ids are kept and shown.
func TestSecretsDoNotLeakAsTheNamesOfTheirEvents(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	w := rig.start(t)
	tokens := canaries{"message id": canary(), "id": canary(), "source": canary(), "type": canary(), "subject": canary(), "class": canary()}
	w.publish("incident", tokenRevoke(tokens["message id"]).String(), nats.MsgIdHdr, tokens["message id"])
	w.publish("siem."+tokens["class"], tokenRevoke(tokens["class"]).String())
	for _, name := range []string{"id", "source", "subject"} {
		event := map[string]any{
			"specversion": "1.0", "type": "rekey.job.requested.v1", "id": "1", "source": "urn:siem",
			"data": json.RawMessage(tokenRevoke(tokens[name]).String()),
		}
		event[name] = "urn:" + tokens[name]
		w.publish("incident", encoded(event))
	}
	w.publish("incident", encoded(map[string]any{
		"specversion": "1.0", "type": "of the kind mdb_sa_sk_" + tokens["type"], "id": "1", "source": "urn:siem",
	}))
	reasons := ""
	for _, letter := range w.letters(6) {
		reasons += letter.Header.Get("Rekey-Reason") + "\n"
	}
	for _, field := range []string{"id", "source", "type", "subject", "NATS subject"} {
		if !strings.Contains("\n"+reasons, "\n"+field+": must not hold a credential") {
			t.Errorf("no reason names %s:\n%s", field, reasons)
		}
	}
	w.settled()
	tokens.searchEverything(t, w)
	for name, token := range tokens {
		if atlas.revoked(token) != 0 {
			t.Errorf("the token that is the %s was revoked, and is a dead letter, too", name)
		}
	}
}
