package docs_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"rekey/checks/repo"
)

// senderWorker makes the secrets of the pages of docs/senders, and runs a worker that is set up as the pages say. Its files take the place of those in
// /run/secrets, and nothing answers its calls.
const senderWorker = `
head -c 32 /dev/urandom | base64 -w0 > secret
(printf whsec_; cat secret) > scanner
for name in github forwarder gitlab gitguardian pagerduty atlas slack teams elastic sentinel; do cp secret $name; done
printf eyJhbGciOiJFUzUxMiJ9.e30.c2lnbmF0dXJl > leaked.txt
cat > senders.yaml << 'END'
%s
END
export REKEY_SANDBOX_CLIENT_SECRET=mdb_sa_sk_for_this_page_only REKEY_CONFIG=senders.yaml
worker run > worker.log 2>&1 &
running=$!
until_seen() {
  for ((try = 0; try < 1200; try++)); do
    if "$@"; then return; fi
    kill -0 $running || break
    sleep 0.1
  done
  echo "never seen: $*"
  cat worker.log
  return 1
}
until_seen grep -q '"msg":"ready"' worker.log
`

// senderOutcome is what the pages say to come of it.
const senderOutcome = `
until_seen eval 'worker job ls -o json | grep "Slack user ann" > found'
until_seen eval 'worker job ls -o json | grep token.revoke > found'
until_seen eval 'worker dlq ls -o json | grep "rekey.secret is missing" > found'
worker event ls --unmatched -o json > unmatched.json
for name in pagerduty scanner sentinel; do grep "rekey/door/$name" unmatched.json > found; done
`

// senderConfig is the configuration that the pages of docs/senders show, as one. The doors that need TLS or an issuer are left out.
func senderConfig(t *testing.T, pages []string) string {
	t.Helper()
	var doors, policies []any
	for _, page := range pages {
		for _, match := range fence.FindAllStringSubmatch(string(repo.Read(t, "docs/senders/"+filepath.Base(page))), -1) {
			if match[1] != "yaml" {
				continue
			}
			var shown struct {
				API struct {
					Doors []map[string]any `json:"doors"`
				} `json:"api"`
				Policies any `json:"policies"`
			}
			if err := yaml.Unmarshal([]byte(match[2]), &shown); err != nil {
				t.Errorf("%s: %v", page, err)
			}
			for _, door := range shown.API.Doors {
				if door["type"] != "mtls" && door["type"] != "caep" {
					doors = append(doors, door)
				}
			}
			if list, ok := shown.Policies.([]any); ok {
				policies = append(policies, list...)
			}
		}
	}
	config, err := yaml.Marshal(map[string]any{
		"nats": map[string]any{"embedded": map[string]any{"listen": "127.0.0.1:14467", "store_dir": "./sender-data"}},
		"atlas": map[string]any{"base_url": "http://127.0.0.1:9", "accounts": []any{map[string]any{
			"name": "security", "client_id": "mdb_sa_id_5ec0000000000000000000a1", "client_secret_env": "REKEY_SANDBOX_CLIENT_SECRET",
		}}},
		"http":     map[string]any{"listen": ""},
		"policies": map[string]any{"dir": "configs/policies", "list": policies},
		"api":      map[string]any{"listen": "127.0.0.1:19467", "doors": doors},
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(config), "/run/secrets/", "./")
}

// TestSendersAreImitated: the curl of each page of docs/senders is taken in by the door that the page shows, and what the page calls success comes of it.
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
	fmt.Fprintf(&script, senderWorker, senderConfig(t, pages))
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
	script.WriteString(senderOutcome)
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
