package docs_test

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"rekey/checks/repo"
)

// senderWorker is a worker with a door for each page of docs/senders. Its files take the place of those in /run/secrets.
const senderWorker = `
head -c 32 /dev/urandom | base64 -w0 > secret
(printf whsec_; cat secret) > scanner
for name in github gitlab gitguardian pagerduty atlas slack teams sentinel forwarder; do cp secret $name; done
printf eyJhbGciOiJFUzUxMiJ9.e30.c2lnbmF0dXJl > leaked.txt
cat > doors.yaml << 'END'
nats: {embedded: {listen: "127.0.0.1:0", store_dir: ./sender-data}}
atlas:
  base_url: http://127.0.0.1:9
  accounts:
    - {name: security, client_id: mdb_sa_id_5ec0000000000000000000a1, client_secret_env: REKEY_SANDBOX_CLIENT_SECRET}
http: {listen: ""}
api:
  listen: 127.0.0.1:19467
  doors:
    - {name: github, type: github, secret_file: github}
    - name: gitlab
      type: gitlab_revocation
      token_file: gitlab
      token_types: [gitleaks_rule_id_mongodb_atlas_service_account_secret]
    - {name: scanner, type: standard_webhooks, secret_file: scanner}
    - {name: gitguardian, type: gitguardian, secret_file: gitguardian}
    - {name: pagerduty, type: pagerduty, secret_file: pagerduty}
    - {name: atlas, type: atlas, secret_file: atlas, class: rotation}
    - {name: slack, type: slack, secret_file: slack}
    - {name: teams, type: teams, secret_file: teams}
    - {name: sentinel, type: bearer, token_file: sentinel}
    - {name: forwarder, type: bearer, token_file: forwarder}
END
REKEY_SANDBOX_CLIENT_SECRET=mdb_sa_sk_for_this_page_only worker run -c doors.yaml > worker.log 2>&1 &
for try in $(seq 300); do grep -q '"api":' worker.log && break; sleep 0.1; done
`

// TestSendersAreImitated: the curl of each page of docs/senders is taken in by its door.
func TestSendersAreImitated(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("there is no openssl to sign with")
	}
	binary := repo.Worker(t)
	pages, err := filepath.Glob(repo.Path(t, "docs/senders/*.md"))
	if err != nil {
		t.Fatal(err)
	}
	script := strings.Builder{}
	script.WriteString(senderWorker)
	imitated := 0
	for _, page := range pages {
		for _, match := range fence.FindAllStringSubmatch(string(repo.Read(t, "docs/senders/"+filepath.Base(page))), -1) {
			if match[1] != "sh" || !strings.Contains(match[2], "/in/") || strings.Contains(match[2], "ssf/streams") {
				continue
			}
			imitated++
			block := strings.NewReplacer("https://rekey.example.com:9465", "http://127.0.0.1:19467", "/run/secrets/", "./", "curl -i", "curl -i -sS --fail-with-body").Replace(match[2])
			script.WriteString(block + "\n")
		}
	}
	if imitated < 10 {
		t.Errorf("only %d senders are imitated", imitated)
	}
	runScript(t, script.String(), binary)
}

// TestPlaybooks: the samples of docs/soar can be read, use paths of the API, and submit fields of a request.
func TestPlaybooks(t *testing.T) {
	var event struct {
		Defs struct {
			Request struct {
				Properties map[string]any `json:"properties"`
			} `json:"request"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal(repo.Read(t, "docs/schema/event.schema.json"), &event); err != nil || len(event.Defs.Request.Properties) == 0 {
		t.Fatalf("the schema of requests: %v", err)
	}
	path := regexp.MustCompile(`https://rekey\.example\.com:9465(/[^"'?]*)(\?wait=\d+[sm])?`)
	for _, name := range []string{"http-action.json", "tines.json", "xsoar.yml", "shuffle.json"} {
		text := string(repo.Read(t, "docs/soar/"+name))
		var content any
		if err := yaml.UnmarshalStrict([]byte(text), &content); err != nil { // JSON is YAML.
			t.Errorf("%s: %v", name, err)
			continue
		}
		found := path.FindAllStringSubmatch(text, -1)
		if len(found) != 2 || found[0][1] != "/v1/jobs" || !strings.HasPrefix(found[1][1], "/v1/jobs/") || found[1][2] == "" {
			t.Errorf("%s asks for %v", name, found)
		}
		for _, status := range []string{"202", "429", "503"} {
			if !strings.Contains(text, status) && !(name == "shuffle.json" && status != "202") {
				t.Errorf("%s does not tell %s", name, status)
			}
		}
		for _, word := range []string{"revoked", "already_gone", "Idempotency-Key"} {
			if !strings.Contains(text, word) {
				t.Errorf("%s does not have %s", name, word)
			}
		}
		for _, field := range []string{"kind", "params", "reason"} {
			if _, known := event.Defs.Request.Properties[field]; !known || !strings.Contains(text, field) {
				t.Errorf("%s: %s is no field of a request, or is not used", name, field)
			}
		}
	}
	if !slices.Contains(documents(t), "docs/soar/README.md") {
		t.Error("the page is not looked through")
	}
}
