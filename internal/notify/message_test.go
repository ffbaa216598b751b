package notify_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/notify"
)

// resultOf is a message of the stream of results.
func resultOf(t *testing.T, change func(*jobs.PublicRecord)) notify.Result {
	t.Helper()
	r, err := notify.ReadResult(published(t, change))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func published(t *testing.T, change func(*jobs.PublicRecord)) []byte {
	t.Helper()
	at := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	record := jobs.PublicRecord{
		JobID: "j1", Kind: kinds.JWKSRevoke, Account: "security", Target: "identity provider 0123456789abcdef01234567",
		Lane: jobs.LaneUrgent, Origin: jobs.OriginEvent, State: jobs.StateDone, Outcome: jobs.OutcomeRevoked, Reason: "IR-4711",
		AcceptedAt: at, FinishedAt: at.Add(1500 * time.Millisecond), AttemptCount: 1,
	}
	if change != nil {
		change(&record)
	}
	data, err := json.Marshal(map[string]any{
		"specversion": "1.0", "id": "j1.2", "source": "rekey", "type": "rekey.job.finished.v1", "time": record.FinishedAt, "data": record,
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func compose(t *testing.T, kind notify.Type, template string, r notify.Result) notify.Message {
	t.Helper()
	c, err := notify.NewComposer(&notify.Receiver{Type: kind, Template: template, Console: "https://rekey.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Compose(&r, notify.ActionOpen)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// slackMessage is a message to a chat, with what its blocks say, one after the other.
func slackMessage(t *testing.T, body []byte) (text, blocks string) {
	t.Helper()
	type markdown struct {
		Type, Text string
		Verbatim   bool
	}
	var said struct {
		Text   string
		Blocks []struct {
			Type   string
			Text   markdown
			Fields []markdown
		}
	}
	if err := json.Unmarshal(body, &said); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, block := range said.Blocks {
		parts := block.Fields
		if len(parts) == 0 {
			parts = []markdown{block.Text}
		}
		for _, part := range parts {
			if block.Type != "section" || part.Type != "mrkdwn" || !part.Verbatim || part.Text == "" {
				t.Errorf("a block is %+v", block)
			}
			all = append(all, part.Text)
		}
	}
	return said.Text, strings.Join(all, "\n")
}

func TestSlack(t *testing.T) {
	t.Parallel()
	const head = "*revoked*: jwks.revoke of `identity provider 0123456789abcdef01234567`, account security"
	const since = "\n*Since*\n2026-11-24 03:00:00 UTC (1.5s)"
	const tail = "\n*Job*\n`j1`, lane urgent, 1 attempt\n*Look*\n`worker job show j1`\n<https://rekey.example.com/jobs/j1|Open in the console>"
	tests := []struct {
		name, template string
		change         func(*jobs.PublicRecord)
		want           string // In blocks.
	}{
		{"as it is", "", nil, head + since + "\n*Reason*\nIR-4711" + tail},
		{"everything", "", func(r *jobs.PublicRecord) {
			r.Detail, r.RequestedBy, r.Policy, r.DryRun, r.AttemptCount = "gone", "soar", "leak", true, 3
		}, strings.Replace(head, "*:", "* (dry run):", 1) + "\ngone" + since + "\n*Reason*\nIR-4711\n*Requested by*\nsoar\n*Policy*\nleak" +
			strings.Replace(tail, "1 attempt", "3 attempts", 1)},
		{"a person must act", "", func(r *jobs.PublicRecord) {
			r.Outcome, r.Detail = jobs.OutcomeRefused, "forbidden: HTTP 403"
		}, strings.Replace(head, "revoked", "refused", 1) + "\nforbidden: HTTP 403" + since + "\n*Reason*\nIR-4711" +
			strings.Replace(tail, "\n<", "\n*Then*\n`worker job retry j1 --reason TEXT`\n<", 1)},
		{"no link, no mention, no line, no code", "", func(r *jobs.PublicRecord) {
			r.Reason = "<!channel> <https://evil.example|click> & `x`\nJob `j2`\u202e"
		}, head + since + "\n*Reason*\n&lt;!channel&gt; &lt;https://evil.example|click&gt; &amp; 'x' Job 'j2'\ufffd" + tail},
		{"a template", "{{.Outcome | printf \"%q\"}} <https://wiki|runbook> {{.FinishedAt.Format \"15:04\"}}", nil, `"revoked" <https://wiki|runbook> 03:00`},
		{"a template with a link", "{{.Link}} {{.Command}}{{.Act}}", nil, "https://rekey.example.com/jobs/j1 worker job show j1"},
		{"a long text", "{{.Reason}}", func(r *jobs.PublicRecord) { r.Reason = strings.Repeat("é", 3000) }, strings.Repeat("é", 1450) + "…"},
		{"a long text below an & of the template", "R&D {{.Reason}}", func(r *jobs.PublicRecord) { r.Reason = strings.Repeat("a", 3000) }, "R&D " + strings.Repeat("a", 2896) + "…"},
		{"no half of an escape", "{{.Reason}}", func(r *jobs.PublicRecord) { r.Reason = strings.Repeat("a", 2897) + "<b" }, strings.Repeat("a", 2897) + "…"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := compose(t, notify.TypeSlack, tt.template, resultOf(t, tt.change))
			text, blocks := slackMessage(t, m.Body)
			if diff := cmp.Diff(tt.want, blocks); diff != "" {
				t.Errorf("blocks (-want +got):\n%s", diff)
			}
			if tt.template != "" && text != blocks || tt.template == "" && !strings.HasPrefix(text, strings.SplitN(tt.want, "\n", 2)[0]+"\n") {
				t.Errorf("the text is %s", text)
			}
		})
	}
}

func TestWebhook(t *testing.T) {
	t.Parallel()
	data := published(t, nil)
	m := compose(t, notify.TypeWebhook, "", resultOf(t, nil))
	var event, body map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(data, &event), json.Unmarshal(m.Body, &body)); err != nil {
		t.Fatal(err)
	}
	want := map[string]json.RawMessage{"type": event["type"], "timestamp": event["time"], "data": event["data"]}
	if diff := cmp.Diff(want, body); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	if m.ID != "rekey-j1-2" {
		t.Errorf("the id is %s", m.ID)
	}
	m = compose(t, notify.TypeWebhook, `{"why": {{json .Reason}}, "n": {{.Attempts}}}`, resultOf(t, func(r *jobs.PublicRecord) { r.Reason = `say "no"` }))
	if want := `{"why": "say \"no\"", "n": 1}`; string(m.Body) != want {
		t.Errorf("the body is %s, want %s", m.Body, want)
	}
}

func TestCheckTemplate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		kind     notify.Type
		text     string
		wantLine int
		want     string // Part of the mistake; empty when there is none.
	}{
		{"none", notify.TypeWebhook, "", 0, ""},
		{"none for a chat", notify.TypeSlack, "", 0, ""},
		{"a good one", notify.TypeSlack, "{{.Outcome}}\n{{.Detail}}", 0, ""},
		{"not closed", notify.TypeSlack, "{{.Outcome}}\n{{if .DryRun}}", 2, "unexpected EOF"},
		{"no such field", notify.TypeSlack, "a\nb\n{{.Nothing}}", 3, "can't evaluate field Nothing"},
		{"no such function", notify.TypeSlack, "{{env .Outcome}}", 1, `function "env" not defined`},
		{"empty", notify.TypeSlack, " {{if eq .Outcome `refused`}}x{{end}}", 0, "empty text"},
		{"no JSON", notify.TypeWebhook, `{"why": {{.Reason}}}`, 0, "not JSON"},
		{"no JSON of a reason with quotes", notify.TypeWebhook, `{"why": "{{.Reason}}"}`, 0, "{{json .Reason}} writes a text with its quotes"},
		{"no JSON of an event's id with quotes", notify.TypeWebhook, `{"event": "{{.EventID}}"}`, 0, "not JSON"},
		{"JSON of a closed set", notify.TypeWebhook, `{"outcome": "{{.Outcome}}", "why": {{json .Reason}}}`, 0, ""},
		{"no JSON unless it is a dry run", notify.TypeWebhook, `{"dry": {{if .DryRun}}true{{end}}}`, 0, "not JSON"},
		{"no JSON without attempts", notify.TypeWebhook, `{"worker": {{if .Worker}}{{json .Worker}}{{end}}}`, 0, "not JSON"},
		{"without end", notify.TypeSlack, "{{range 100000000}}aaaaaaaaaaaaaaaa{{end}}", 0, "more than 1 MiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := notify.CheckTemplate(tt.kind, tt.text)
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			mistake, ok := errors.AsType[*notify.TemplateError](err)
			if !ok || mistake.Line != tt.wantLine || !strings.Contains(mistake.Detail, tt.want) {
				t.Errorf("CheckTemplate = %v, want line %d: %s", err, tt.wantLine, tt.want)
			}
		})
	}
}

func TestFilter(t *testing.T) {
	t.Parallel()
	r := jobs.PublicRecord{
		Outcome: jobs.OutcomeRevoked, Lane: jobs.LaneUrgent, Kind: kinds.JWKSRevoke, Account: "a", Proof: &jobs.Proof{Verdict: jobs.VerdictStillAlive},
	}
	alive := []jobs.Verdict{jobs.VerdictStillAlive}
	tests := []struct {
		name   string
		filter notify.Filter
		want   bool // Of a result; as a verdict it is let through where the name says so.
	}{
		{"all", notify.Filter{}, true},
		{"verdict, whatever the outcome", notify.Filter{Verdicts: alive, Outcomes: []jobs.Outcome{jobs.OutcomeRefused}}, false},
		{"verdict of a lane", notify.Filter{Verdicts: alive, Lanes: []jobs.Lane{jobs.LaneUrgent}}, true},
		{"another verdict", notify.Filter{Verdicts: []jobs.Verdict{jobs.VerdictVerified}}, true},
		{"outcome", notify.Filter{Outcomes: []jobs.Outcome{jobs.OutcomeRefused, jobs.OutcomeRevoked}}, true},
		{"not the outcome", notify.Filter{Outcomes: []jobs.Outcome{jobs.OutcomeRefused}}, false},
		{"not the lane", notify.Filter{Lanes: []jobs.Lane{jobs.LaneBulk}}, false},
		{"not the kind", notify.Filter{Kinds: []jobs.Kind{kinds.X509Disable}}, false},
		{"not the account", notify.Filter{Accounts: []string{"b"}}, false},
		{"one of two does not match", notify.Filter{Accounts: []string{"a"}, Lanes: []jobs.Lane{jobs.LaneBulk}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.filter.Matches(&r, false); got != tt.want {
				t.Errorf("Matches = %v, want %v", got, tt.want)
			}
			if got, want := tt.filter.Matches(&r, true), strings.HasPrefix(tt.name, "verdict"); got != want {
				t.Errorf("Matches of a verdict = %v, want %v", got, want)
			}
		})
	}
}

// TestVerdictText: a chat receives what a verdict means and what was seen; what was seen cannot steer it.
func TestVerdictText(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	for verdict, want := range map[jobs.Verdict]string{
		jobs.VerdictVerified: "dead.", jobs.VerdictRecorded: "event log", jobs.VerdictAccepted: "Not proven", jobs.VerdictStillAlive: "still works", jobs.VerdictReverted: "is back",
	} {
		data, err := json.Marshal(map[string]any{"id": "a." + string(verdict), "source": "rekey", "type": notify.TypeProof, "data": jobs.PublicRecord{
			JobID: "a", Kind: kinds.IDPDelete, State: jobs.StateDone, Outcome: jobs.OutcomeRevoked, AcceptedAt: at, FinishedAt: at.Add(time.Second),
			Proof: &jobs.Proof{Verdict: verdict, CheckedAt: at.Add(time.Minute), Evidence: []jobs.Evidence{{At: at.Add(time.Minute), Check: "idp", Says: "200: <!channel>"}}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		r, err := notify.ReadResult(data)
		if err != nil {
			t.Fatal(err)
		}
		m := compose(t, notify.TypeSlack, "", r)
		var body struct{ Text string }
		if err := json.Unmarshal(m.Body, &body); err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{"*" + string(verdict) + "*: idp.delete", want, "\n200: &lt;!channel&gt;\n", "1m0s"} {
			if !strings.Contains(body.Text, part) {
				t.Errorf("%s: %q is not in %q", verdict, part, body.Text)
			}
		}
		if m.ID != "rekey-a-"+string(verdict) {
			t.Errorf("the id is %s", m.ID)
		}
	}
}

func TestReadResultRejects(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{
		"no JSON": "x", "no data": `{"id":"a"}`, "no record": `{"id":"a","data":[]}`, "not done": `{"id":"a","data":{"state":"running"}}`,
		"no id": `{"data":{"state":"done"}}`,
	} {
		if _, err := notify.ReadResult([]byte(data)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
