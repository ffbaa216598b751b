package door_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"rekey/internal/door"
)

func mac(algorithm func() hash.Hash, key string, parts ...string) []byte {
	m := hmac.New(algorithm, []byte(key))
	m.Write([]byte(strings.Join(parts, "")))
	return m.Sum(nil)
}

func mac256(key string, parts ...string) []byte { return mac(sha256.New, key, parts...) }

func stamp(ago time.Duration) string { return fmt.Sprint(time.Now().Add(-ago).Unix()) }

// answer is what a door says to its sender, and the document that says what the sender makes of it.
type answer struct {
	name     string
	body     string
	headers  http.Header
	want     int
	result   string
	document string
}

// check posts what answers describe to one door. None but accepted ones may be stored.
func check(t *testing.T, d door.Door, secrets string, answers []answer) {
	t.Helper()
	for _, a := range answers {
		t.Run(a.name, func(t *testing.T) {
			if a.document == "" {
				t.Error("no document says so")
			}
			r := newRig(t, d, secrets)
			r.wantStatus(r.post(a.body, a.headers), a.want)
			if r.results[a.result] != 1 || len(r.results) != 1 {
				t.Errorf("counted %v, want %s", r.results, a.result)
			}
			if (len(r.events) > 0) != (a.result == "accepted") {
				t.Errorf("%d events are stored", len(r.events))
			}
		})
	}
}

func gitHub(key, body, id string) http.Header {
	h := http.Header{}
	h.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac256(key, body)))
	h.Set("X-GitHub-Delivery", id)
	h.Set("X-GitHub-Event", "secret_scanning_alert")
	return h
}

func TestGitHub(t *testing.T) {
	const body, doc = `{"action":"created","alert":{"number":1,"secret_type":"mongodb_atlas_token"}}`,
		"docs.github.com: handling failed webhook deliveries: no automatic retry, 2xx is success; validating webhook deliveries"
	ping := gitHub("k3y", `{"zen":"x"}`, "1")
	ping.Set("X-GitHub-Event", "ping")
	check(t, door.Door{Type: door.TypeGitHub}, "0ther\nk3y\n", []answer{
		{"signed", body, gitHub("k3y", body, "d1"), 202, "accepted", doc},
		{"signed by the key before", body, gitHub("0ther", body, "d1"), 202, "accepted", doc},
		{"signed by another key", body, gitHub("x", body, "d1"), 401, "unauthorized", doc},
		{"another body", body + " ", gitHub("k3y", body, "d1"), 401, "unauthorized", doc},
		{"no signature", body, nil, 401, "unauthorized", doc},
		{"no JSON, not signed", "{", nil, 401, "unauthorized", doc},
		{"no JSON", "{", gitHub("k3y", "{", "d1"), 400, "malformed", doc},
		{"no delivery", body, gitHub("k3y", body, ""), 400, "malformed", doc},
		{"ping", `{"zen":"x"}`, ping, 202, "ignored", doc},
	})
	r := newRig(t, door.Door{Type: door.TypeGitHub}, "k3y")
	r.post(body, gitHub("k3y", body, "d1"))
	got := r.one()
	if got.ID != "d1" || got.Type != "rekey.door.github.v1" || got.headers["X-GitHub-Event"] != "secret_scanning_alert" {
		t.Errorf("stored %+v", got)
	}
	if alert := got.fields()["alert"].(map[string]any); alert["secret_type"] != "mongodb_atlas_token" {
		t.Errorf("policies see %v", alert)
	}
}

// rotated are a shared secret and a key pair of a sender.
var (
	shared  = "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32)))
	private = ed25519.NewKeyFromSeed([]byte(strings.Repeat("s", 32)))
	public  = "whpk_" + base64.StdEncoding.EncodeToString(private.Public().(ed25519.PublicKey))
)

func standard(id, at string, signatures ...string) http.Header {
	return http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {at}, "Webhook-Signature": {strings.Join(signatures, " ")}}
}

func v1(id, at, body string) string {
	return "v1," + base64.StdEncoding.EncodeToString(mac256(strings.Repeat("k", 32), id, ".", at, ".", body))
}

func v1a(id, at, body string) string {
	return "v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(private, []byte(id+"."+at+"."+body)))
}

func TestStandardWebhooks(t *testing.T) {
	const body, doc = `{"type":"token.leaked","data":{}}`, "standard-webhooks.md: success is 2xx, all else is sent again; tolerance; any signature may match"
	now, old := stamp(0), stamp(6*time.Minute)
	future := stamp(-6 * time.Minute)
	check(t, door.Door{Type: door.TypeStandardWebhooks}, shared+"\n"+public, []answer{
		{"v1", body, standard("m1", now, v1("m1", now, body)), 202, "accepted", doc},
		{"v1a", body, standard("m1", now, v1a("m1", now, body)), 202, "accepted", doc},
		{"the second of two", body, standard("m1", now, "v1,AAAA", v1("m1", now, body)), 202, "accepted", doc},
		{"of another id", body, standard("m2", now, v1("m1", now, body)), 401, "unauthorized", doc},
		{"of another version", body, standard("m1", now, strings.Replace(v1("m1", now, body), "v1", "v1a", 1)), 401, "unauthorized", doc},
		{"of another body", body + " ", standard("m1", now, v1("m1", now, body)), 401, "unauthorized", doc},
		{"old", body, standard("m1", old, v1("m1", old, body)), 401, "unauthorized", doc},
		{"of the future", body, standard("m1", future, v1("m1", future, body)), 401, "unauthorized", doc},
		{"no time", body, standard("m1", "x", v1("m1", "x", body)), 401, "unauthorized", doc},
		{"no signature", body, standard("m1", now), 401, "unauthorized", doc},
	})
	r := newRig(t, door.Door{Type: door.TypeStandardWebhooks}, shared)
	hook, err := standardwebhooks.NewWebhook(shared)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	signature, err := hook.Sign("m1", at, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	r.wantStatus(r.post(body, standard("m1", fmt.Sprint(at.Unix()), signature)), http.StatusAccepted)
	if got := r.one(); got.ID != "m1" {
		t.Errorf("the library's request is stored as %+v", got)
	}
}

// TestWrongKeyIsNoWrongSignature: a door whose file holds no key does not tell the sender to stop.
func TestWrongKeyIsNoWrongSignature(t *testing.T) {
	for _, secrets := range []string{"secret", "whsec_!", "whsec_AAAA", "whpk_AAAA"} {
		r := newRig(t, door.Door{Type: door.TypeStandardWebhooks}, secrets)
		r.wantStatus(r.post("{}", standard("m1", stamp(0), "v1,AAAA")), http.StatusServiceUnavailable)
	}
}

func TestGitGuardian(t *testing.T) {
	const body, doc = `{"source":"GitGuardian","incident":{"id":1}}`,
		"docs.gitguardian.com custom-webhook: the key is timestamp and token; drop what is more than a few seconds off"
	signed := func(at, key string) http.Header {
		return http.Header{"Timestamp": {at}, "Gitguardian-Signature": {"sha256=" + hex.EncodeToString(mac256(at+key, body))}}
	}
	check(t, door.Door{Type: door.TypeGitGuardian}, "t0ken", []answer{
		{"signed", body, signed(stamp(0), "t0ken"), 202, "accepted", doc},
		{"signed, its time as RFC 3339", body, signed(time.Now().UTC().Format(time.RFC3339), "t0ken"), 202, "accepted", doc},
		{"old", body, signed(stamp(time.Hour), "t0ken"), 401, "unauthorized", doc},
		{"another key", body, signed(stamp(0), "x"), 401, "unauthorized", doc},
		{"no signature", body, http.Header{"Timestamp": {stamp(0)}}, 401, "unauthorized", doc},
	})
	r := newRig(t, door.Door{Type: door.TypeGitGuardian}, "t0ken")
	r.post(body, signed(stamp(0), "t0ken"))
	r.post(body, signed(stamp(time.Second), "t0ken"))
	if len(r.events) != 2 || r.events[0].ID != r.events[1].ID {
		t.Errorf("the same delivery twice is %+v", r.events)
	}
}

func TestPagerDuty(t *testing.T) {
	const body, doc = `{"event":{"id":"E1","event_type":"incident.triggered"}}`,
		"pkg.go.dev/github.com/PagerDuty/go-pagerduty/webhookv3: 400 for a missing header and 403 for a wrong signature prevent redelivery"
	signed := func(keys ...string) http.Header {
		var list []string
		for _, key := range keys {
			list = append(list, "v1="+hex.EncodeToString(mac256(key, body)))
		}
		h := http.Header{}
		h.Set("X-PagerDuty-Signature", strings.Join(list, ","))
		return h
	}
	ping := `{"event":{"id":"E2","event_type":"pagey.ping"}}`
	pinged := http.Header{"X-Pagerduty-Signature": {"v1=" + hex.EncodeToString(mac256("k3y", ping))}}
	check(t, door.Door{Type: door.TypePagerDuty}, "k3y", []answer{
		{"signed", body, signed("k3y"), 202, "accepted", doc},
		{"one of two", body, signed("x", "k3y"), 202, "accepted", doc},
		{"another key", body, signed("x"), 403, "unauthorized", doc},
		{"no signature", body, nil, 400, "unauthorized", doc},
		{"ping", ping, pinged, 202, "ignored", doc},
	})
	r := newRig(t, door.Door{Type: door.TypePagerDuty}, "k3y")
	r.post(body, signed("k3y"))
	if got := r.one(); got.ID != "E1" {
		t.Errorf("stored %+v", got)
	}
}

func TestAtlas(t *testing.T) {
	const body, doc = `{"id":"a1","status":"OPEN","eventTypeName":"ORG_SERVICE_ACCOUNT_SECRETS_EXPIRING"}`,
		"mongodb.com/docs/atlas/tutorial/webhook-integration: base64 of HMAC-SHA1 over the body; retries are not stated"
	signed := func(key, body string) http.Header {
		h := http.Header{}
		h.Set("X-MMS-Signature", base64.StdEncoding.EncodeToString(mac(sha1.New, key, body)))
		h.Set("X-MMS-Event", "alert.open")
		return h
	}
	check(t, door.Door{Type: door.TypeAtlas}, "k3y", []answer{
		{"signed", body, signed("k3y", body), 202, "accepted", doc},
		{"another key", body, signed("x", body), 401, "unauthorized", doc},
		{"no signature", body, nil, 401, "unauthorized", doc},
	})
	r := newRig(t, door.Door{Type: door.TypeAtlas}, "k3y")
	closed := strings.Replace(body, "OPEN", "CLOSED", 1)
	r.post(body, signed("k3y", body))
	again := signed("k3y", body)
	again.Set("X-MMS-Event", "alert.update") // Is not signed: it makes no other delivery of a replay.
	r.post(body, again)
	r.post(closed, signed("k3y", closed))
	if r.events[0].ID != "a1/OPEN" || r.events[1].ID != "a1/OPEN" || r.events[2].ID != "a1/CLOSED" || r.events[0].headers["X-MMS-Event"] != "alert.open" {
		t.Errorf("stored %+v", r.events)
	}
}

func TestSlack(t *testing.T) {
	const doc = "docs.slack.dev: verifying requests, slash commands: 200 within 3 s, and five minutes of tolerance"
	form := url.Values{
		"command": {"/rekey"}, "text": {"revoke 0123456789abcdef01234567"}, "trigger_id": {"13345224609.738474920.8088930838d88f008e0"}, "user_name": {"ann"},
		"token": {"gIkuvaNzQIHg97ATvDxqgjtO"}, "response_url": {"https://hooks.slack.com/commands/1234/5678"},
	}.Encode()
	signed := func(at, key string) http.Header {
		return http.Header{
			"Content-Type":              {"application/x-www-form-urlencoded"},
			"X-Slack-Request-Timestamp": {at}, "X-Slack-Signature": {"v0=" + hex.EncodeToString(mac256(key, "v0:", at, ":", form))},
		}
	}
	check(t, door.Door{Type: door.TypeSlack}, "k3y", []answer{
		{"signed", form, signed(stamp(0), "k3y"), 200, "accepted", doc},
		{"old", form, signed(stamp(6*time.Minute), "k3y"), 401, "unauthorized", doc},
		{"another key", form, signed(stamp(0), "x"), 401, "unauthorized", doc},
	})
	r := newRig(t, door.Door{Type: door.TypeSlack}, "k3y")
	w := r.post(form, signed(stamp(0), "k3y"))
	if !strings.Contains(w.Body.String(), "ephemeral") || r.one().fields()["text"] != "revoke 0123456789abcdef01234567" {
		t.Errorf("answered %s, stored %+v", w.Body, r.events)
	}
	r.wantNoCanary("gIkuvaNzQIHg97ATvDxqgjtO", "hooks.slack.com")
}

func TestTeams(t *testing.T) {
	const doc = "learn.microsoft.com: add-outgoing-webhook: HMAC of the body by the decoded token; the answer is a message"
	const body = `{"type":"message","id":"1485983408511","text":"<at>rekey</at> revoke","conversation":{"id":"19:c"},"from":{"name":"Ann"}}`
	token := base64.StdEncoding.EncodeToString([]byte("k3y"))
	signed := func(key string) http.Header {
		return http.Header{"Authorization": {"HMAC " + base64.StdEncoding.EncodeToString(mac256(key, body))}}
	}
	check(t, door.Door{Type: door.TypeTeams}, token, []answer{
		{"signed", body, signed("k3y"), 200, "accepted", doc},
		{"another key", body, signed("x"), 401, "unauthorized", doc},
		{"no signature", body, nil, 401, "unauthorized", doc},
	})
	r := newRig(t, door.Door{Type: door.TypeTeams}, token)
	if w := r.post(body, signed("k3y")); !strings.Contains(w.Body.String(), `"type":"message"`) {
		t.Errorf("answered %s", w.Body)
	}
}

func TestPlainSenders(t *testing.T) {
	basic := func(user, password string) http.Header {
		q := httptest.NewRequest(http.MethodPost, "/", nil)
		q.SetBasicAuth(user, password)
		return http.Header{"Authorization": q.Header["Authorization"]}
	}
	check(t, door.Door{Type: door.TypeBearer}, "t0ken n3w", []answer{
		{"bearer", `{}`, http.Header{"Authorization": {"Bearer t0ken"}}, 202, "accepted", "RFC 6750"},
		{"bearer, in another case", `{}`, http.Header{"Authorization": {"bearer n3w"}}, 202, "accepted", "RFC 9110 section 11.1"},
		{"bearer, wrong", `{}`, http.Header{"Authorization": {"Bearer x"}}, 401, "unauthorized", "RFC 6750 section 3.1"},
		{"bearer, none", `{}`, nil, 401, "unauthorized", "RFC 6750 section 3.1"},
		{"bearer, no JSON", `x`, http.Header{"Authorization": {"Bearer t0ken"}}, 400, "malformed", "RFC 9110 section 15.5.1"},
		{"bearer, twice", `{}`, http.Header{"Authorization": {"Bearer t0ken", "Bearer x"}}, 400, "malformed", "RFC 9110 section 5.3"},
		{"bearer, not compressed", `{}`, http.Header{"Authorization": {"Bearer t0ken"}, "Content-Encoding": {"identity"}}, 202, "accepted", "RFC 9110 section 8.4.1"},
		{"bearer, compressed", `{}`, http.Header{"Authorization": {"Bearer t0ken"}, "Content-Encoding": {"gzip"}}, 415, "malformed", "RFC 9110 section 15.5.16"},
		{"bearer, compressed twice", `{}`, http.Header{"Authorization": {"Bearer t0ken"}, "Content-Encoding": {"identity", "gzip"}}, 415, "malformed", "RFC 9110 section 15.5.16"},
		{"bearer, a form", `a=b`, http.Header{"Authorization": {"Bearer t0ken"}, "Content-Type": {"application/x-www-form-urlencoded"}}, 415, "malformed", "RFC 9110 section 15.5.16"},
	})
	check(t, door.Door{Type: door.TypeBasic, User: "siem"}, "passw0rd", []answer{
		{"basic", `{}`, basic("siem", "passw0rd"), 202, "accepted", "RFC 7617"},
		{"basic, another password", `{}`, basic("siem", "x"), 401, "unauthorized", "RFC 7617 section 2"},
		{"basic, another user", `{}`, basic("x", "passw0rd"), 401, "unauthorized", "RFC 7617 section 2"},
		{"basic, none", `{}`, nil, 401, "unauthorized", "RFC 7617 section 2"},
	})
	check(t, door.Door{Type: door.TypeNone}, "-", []answer{
		{"none", `{}`, nil, 202, "accepted", "DESIGN: loopback only"},
		{"none, through a proxy", `{}`, http.Header{"X-Forwarded-For": {"192.0.2.1"}}, 401, "unauthorized", "DESIGN: loopback only"},
		{"none, through a proxy that hides from where", `{}`, http.Header{"X-Forwarded-Host": {"rekey.example.com"}}, 401, "unauthorized", "DESIGN: loopback only"},
		{"none, from a page", `{}`, http.Header{"Origin": {"https://example.com"}}, 401, "unauthorized", "DESIGN: loopback only"},
	})
	r := newRig(t, door.Door{Type: door.TypeNone}, "-")
	q := httptest.NewRequest(http.MethodPost, "/in/none", strings.NewReader("{}"))
	q.RemoteAddr = "192.0.2.1:4000"
	r.wantStatus(r.serve(q), http.StatusUnauthorized)
}
