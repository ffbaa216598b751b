package bus

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"rekey/internal/event"
	"rekey/internal/jobs"
	"rekey/internal/layout"
)

func TestJobMessageRoundTrip(t *testing.T) {
	t.Parallel()
	full := newTokenJob(t, "job1", canary+`"\<~`)
	full.Digest, full.Reason, full.RequestedBy = "0123456789abcdef0123456789abcdef", "IR-4711 <b>", "soar@example.com"
	full.ExpiresAt = moment.Add(time.Hour)
	tests := []struct {
		name string
		job  jobs.Job
	}{
		{name: "with a secret and everything", job: full},
		{name: "with ids only", job: newJob(t, "job2", jobs.LaneBulk)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			data, err := json.Marshal(newJobMessage(tt.job, tt.job.Params.Carried()))
			if err != nil {
				t.Fatal(err)
			}
			got, err := decodeJob(data)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.job.Params.Carried(), got.Params.Carried()); diff != "" {
				t.Error(diff)
			}
			want := tt.job
			want.Params, got.Params = jobs.Params{}, jobs.Params{}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(jobs.Params{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDecodeJobRejects(t *testing.T) {
	t.Parallel()
	job := func(from, to string) string {
		return strings.Replace(`{"job_id":"j","kind":"token.revoke","lane":"urgent","params":{"token":"`+canary+`"},"accepted_at":"2026-01-01T00:00:00Z"}`, from, to, 1)
	}
	tests := []struct{ name, data, want string }{
		{"nothing", "", "it is no JSON of a job"},
		{"text", canary, "it is no JSON of a job"},
		{"cut off", job("}", "")[:60], "it is no JSON of a job"},
		{"something behind it", job("", "") + canary, "it is no JSON of a job"},
		{"no id", job(`"j"`, `""`), "it has no id"},
		{"unknown kind", job("token.revoke", canary), "unknown kind"},
		{"unknown lane", job("urgent", canary), "unknown lane"},
		{"unknown parameter", job(`"token":`, `"tokn":`), "params.tokn: unknown parameter"},
		{"missing parameter", job(`"token":"`+canary+`"`, ""), "exactly one of token, token_file, token_sealed, token_ref"},
		{"malformed parameter", job(`"token":"`+canary, `"token_sealed":"rekey-seal.v1. `+canary), "must not contain spaces"},
		{"number for a token", job(`"`+canary+`"`, "1234567890"), "params has the wrong type"},
		{"text for a time", job("2026-01-01T00:00:00Z", canary), "it is no JSON of a job"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := decodeJob([]byte(tt.data))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("the error is %v, want %q", err, tt.want)
			}
			if strings.Contains(err.Error(), canary) || strings.Contains(err.Error(), "1234567890") {
				t.Errorf("the error repeats a value: %v", err)
			}
		})
	}
}

// A token that is not accepted any more comes to its attempt all the same, which ends its job.
func TestDecodeJobWithARefusedToken(t *testing.T) {
	t.Parallel()
	job, err := decodeJob([]byte(`{"job_id":"j","kind":"token.revoke","lane":"urgent","params":{"token":"two words"},"accepted_at":"2026-01-01T00:00:00Z"}`))
	if err != nil || job.Params.Secret("token").Reveal() != "two words" {
		t.Errorf("decoded with %v", err)
	}
}

func TestEnqueue(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	job := newTokenJob(t, "job1", canary)
	r.enqueue(t, job, job) // The second is a copy.
	lifted := job
	lifted.Lane = jobs.LaneBulk
	r.enqueue(t, lifted)

	if got := r.stored(t, r.names.Jobs()); got != 2 {
		t.Errorf("the stream holds %d messages, want 2", got)
	}
	stream, err := r.conn.js.Stream(t.Context(), r.names.Jobs())
	if err != nil {
		t.Fatal(err)
	}
	for seq, subject := range []string{1: "rekey.v1.job.urgent.token-revoke", 2: "rekey.v1.job.bulk.token-revoke"} {
		if subject == "" {
			continue
		}
		msg, err := stream.GetMsg(t.Context(), uint64(seq))
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeJob(msg.Data)
		if err != nil {
			t.Fatal(err)
		}
		if msg.Subject != subject || got.ID != "job1" || got.Params.Secret("token").Reveal() != canary {
			t.Errorf("message %d on %s is job %s", seq, msg.Subject, got.ID)
		}
		if strings.Contains(fmt.Sprint(msg.Header, msg.Subject), canary) {
			t.Error("the secret is outside of the payload")
		}
	}
}

func TestEnqueueTellsWhatFailed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if err := r.conn.js.DeleteStream(t.Context(), r.names.Jobs()); err != nil {
		t.Fatal(err)
	}
	err := NewQueue(r.conn).Enqueue(t.Context(), newTokenJob(t, "job1", canary))
	if err == nil || !strings.Contains(err.Error(), "publishing on rekey.v1.job.urgent.token-revoke") {
		t.Errorf("the error is %v", err)
	}
	if err != nil && strings.Contains(err.Error(), canary) {
		t.Errorf("the error has the secret: %v", err)
	}
}

func TestPublishRaw(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	events := layout.Layout{Names: r.names}.Streams()[0]
	events.Duplicates = time.Minute
	if _, err := r.conn.js.UpdateStream(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	publish := func(class, id string) (Stored, error) {
		return r.conn.PublishRaw(t.Context(), class, []byte(plain), id)
	}
	for _, step := range []struct {
		name, class, id string
		want            Stored
	}{
		{"first", "incident", "", Stored{Seq: 1}},
		{"the same without an id", "incident", "", Stored{Seq: 2}},
		{"with an id", "siem.alert-2", "a", Stored{Seq: 3}},
		{"with the same id", "siem.alert-2", "a", Stored{Seq: 3, Duplicate: true}},
		{"with the same id in another class", "incident", "a", Stored{Seq: 3, Duplicate: true}},
	} {
		if got, err := publish(step.class, step.id); err != nil || got != step.want {
			t.Errorf("%s: %+v, error %v, want %+v", step.name, got, err, step.want)
		}
	}
	for _, class := range []string{"", "a b", "*", ">", "a.>", ".", "a..b", "é", strings.Repeat("x", 65), "a.b.c.d.e"} {
		if _, err := publish(class, ""); err == nil || !strings.Contains(err.Error(), "must be made of") {
			t.Errorf("class %q: error %v", class, err)
		}
	}
	other := dial(t, ConnectConfig{Embedded: r.server, Namespace: "other"})
	if _, err := other.PublishRaw(t.Context(), "incident", []byte(plain), ""); err == nil {
		t.Error("an event of a namespace without streams was accepted")
	}
}

func TestPublishRequest(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	request := map[string]any{"kind": "x509.disable", "params": map[string]any{"project_id": hexA}, "reason": "IR-4711"}
	// The same identity twice is two messages: what is the same event, the ledger says.
	for want := range uint64(2) {
		got, err := r.conn.PublishRequest(t.Context(), jobs.ClassOperator, "/cli", "tick 1", request)
		if err != nil || got != want+1 {
			t.Fatalf("sequence %d, error %v, want %d", got, err, want+1)
		}
	}
	stream, err := r.conn.js.Stream(t.Context(), r.names.Events())
	if err != nil {
		t.Fatal(err)
	}
	msg, err := stream.GetMsg(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if id := msg.Header.Get(nats.MsgIdHdr); id != "" {
		t.Errorf("it has the id %q, which others could use before", id)
	}
	e, err := decodeEvent(r.names, event.Message{Subject: msg.Subject, Header: msg.Header, Data: msg.Data, Seq: 1, At: msg.Time})
	if err != nil {
		t.Fatal(err)
	}
	if e.Source != "/cli" || e.ID != "tick 1" || e.Class != jobs.ClassOperator || e.Request.Reason != "IR-4711" {
		t.Errorf("the event is %+v", e)
	}
	if _, err := r.conn.PublishRequest(t.Context(), "incident", "/cli", "x", map[string]any{"a": func() {}}); err == nil {
		t.Error("a request that is no JSON was published")
	}
}
