package jobs

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/kinds"
	"rekey/internal/secret"
)

// fakeSealer seals by inverting every bit, to the key named in it. No two sealed values are the same.
type fakeSealer struct {
	key   string
	fault error
	count *int
}

func newSealer() fakeSealer { return fakeSealer{key: "X" + strings.Repeat("A", 55), count: new(int)} }

func (s fakeSealer) Seal(value secret.Value) (string, error) {
	if s.fault != nil {
		return "", s.fault
	}
	*s.count++
	return fmt.Sprintf("rekey-seal.v1.%s.%d_%s", s.key, *s.count, hex.EncodeToString(inverted([]byte(value.Reveal())))), nil
}

func (s fakeSealer) Open(text string) (secret.Value, error) {
	parts := strings.SplitN(text, ".", 4)
	switch {
	case s.fault != nil:
		return secret.Value{}, s.fault
	case len(parts) < 4 || parts[2] != s.key:
		return secret.Value{}, &Malformed{Detail: "is sealed to another key"}
	}
	_, inside, _ := strings.Cut(parts[3], "_")
	value, err := hex.DecodeString(inside)
	return secret.New(string(inverted(value))), err
}

func inverted(text []byte) []byte {
	for i := range text {
		text[i] ^= 0xff
	}
	return text
}

func mustSealText(t *testing.T, s Sealer, text string) string {
	t.Helper()
	sealed, err := s.Seal(secret.New(text))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// revokeEvent asks for the revocation of a token in one of its forms.
func revokeEvent(t *testing.T, n uint64, params map[string]any) Event {
	t.Helper()
	return jwksEvent(t, n, func(e *Event) {
		e.Request.Kind = kinds.TokenRevoke
		e.Request.Params = mustParams(t, kinds.TokenRevoke, params)
	})
}

func TestSealedIsTheSameTarget(t *testing.T) {
	t.Parallel()
	sealer := newSealer()
	plain := mustParams(t, kinds.TokenRevoke, map[string]any{"token": canary})
	want := Job{Kind: kinds.TokenRevoke, Account: "a", Params: plain}
	for name, raw := range map[string]map[string]any{
		"token_sealed": {"token_sealed": mustSealText(t, sealer, canary)},
		"token":        {"token": mustSealText(t, sealer, canary)},
	} {
		sealed := mustParams(t, kinds.TokenRevoke, raw)
		opened, err := sealed.Open(sealer)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := Job{Kind: kinds.TokenRevoke, Account: "a", Params: opened}
		if got.TargetKey() != want.TargetKey() || got.Target() != want.Target() {
			t.Errorf("%s: the target is %s (%s), want that of the plain token, %s (%s)", name, got.Target(), got.TargetKey(), want.Target(), want.TargetKey())
		}
		if got.act() != want.act() {
			t.Errorf("%s: the job is another one", name)
		}
		if diff := cmp.Diff(plain.Shown(), opened.Shown()); diff != "" {
			t.Errorf("%s: shown (-plain +sealed):\n%s", name, diff)
		}
	}
}

func TestParamsCarryTheSealedForm(t *testing.T) {
	t.Parallel()
	plain := mustParams(t, kinds.TokenRevoke, map[string]any{"token": canary})
	sealed, err := plain.Seal(newSealer())
	if err != nil {
		t.Fatal(err)
	}
	if len(plain.Plain()) != 1 || len(sealed.Plain()) != 0 {
		t.Errorf("in the clear are %v before and %v after sealing", plain.Plain(), sealed.Plain())
	}
	for what, carried := range map[string]map[string]string{"carried": sealed.Carried(), "stored": sealed.Stored(), "stored plain": plain.Stored()} {
		if text := fmt.Sprint(carried); strings.Contains(text, canary) {
			t.Errorf("%s: %s", what, text)
		}
	}
	if got := plain.Carried()["token"]; got != canary {
		t.Errorf("where the clear is allowed, the queue carries %q", got)
	}
	again := mustParams(t, kinds.TokenRevoke, map[string]any{"token_sealed": sealed.Carried()["token_sealed"]})
	if err := again.NotOpened("token"); err == nil || !strings.Contains(err.Error(), "X"+strings.Repeat("A", 55)) {
		t.Errorf("before it is opened the error is %v, want one with the key's id", err)
	}
	opened, err := again.Open(newSealer())
	if err != nil || opened.Secret("token").Reveal() != canary || opened.NotOpened("token") != nil {
		t.Errorf("opened with %v, want the token", err)
	}
}

// TestTextsHoldNoToken: who asks for a token's end may name it in the reason as well.
func TestTextsHoldNoToken(t *testing.T) {
	t.Parallel()
	for _, plaintext := range Plaintexts() {
		p := newPlant(works)
		p.intake.secrets = Secrets{Sealer: newSealer(), Plaintext: plaintext}
		form := "token"
		value := canary
		if plaintext == PlaintextRefuse {
			form, value = "token_sealed", mustSealText(t, p.intake.secrets.Sealer, canary)
		}
		e := revokeEvent(t, 1, map[string]any{form: value})
		e.Request.Reason, e.Request.RequestedBy = "found "+canary+" in a log", "who has "+canary
		r := p.record(t, p.accept(t, e).JobID)
		if text := r.Reason + r.RequestedBy; strings.Contains(text, canary) || !strings.HasPrefix(text, "found [redacted ") {
			t.Errorf("%s: the record has %q", plaintext, text)
		}
	}
}

func TestSealedMistakes(t *testing.T) {
	t.Parallel()
	sealer := newSealer()
	tests := []struct {
		name, value, want string
	}{
		{"plain", canary, "must be a sealed value"},
		{"empty", "", "must be a sealed value"},
		{"spaces", "rekey-seal.v1. " + canary, "must not contain spaces"},
		{"too long", "rekey-seal." + strings.Repeat("x", maxSealedBytes), "the limit is"},
		{"another key", "rekey-seal.v1.XB.1_" + canary, "is sealed to another key"},
		{"nothing", "rekey-seal.v1." + sealer.key + ".1_", "has nothing sealed in it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, err := NewParams(kinds.TokenRevoke, map[string]any{"token_sealed": tt.value})
			if err == nil {
				p, err = p.Open(sealer)
				if again := p.NotOpened("token"); !errors.Is(again, err) {
					t.Errorf("its attempt would fail with %v, want the same", again)
				}
			}
			m, ok := errors.AsType[*Malformed](err)
			if !ok || m.Field != "params.token_sealed" || !strings.Contains(m.Detail, tt.want) {
				t.Errorf("the error is %v, want params.token_sealed: %s", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), canary) {
				t.Error("the error shows the secret")
			}
		})
	}
}

// What is sealed is looked at by its attempt, and comes as far as that: its job ends with a result.
func TestSealedSomethingElse(t *testing.T) {
	t.Parallel()
	sealer := newSealer()
	for _, text := range []string{"mdb_sa_sk_" + canary, "two words", "REDACTED"} {
		p, err := NewParams(kinds.TokenRevoke, map[string]any{"token_sealed": mustSealText(t, sealer, text)})
		if err == nil {
			p, err = p.Open(sealer)
		}
		if err != nil || p.Secret("token").Reveal() != text {
			t.Errorf("opened with %v", err)
		}
	}
}

func TestPlaintext(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name        string
		plaintext   Plaintext
		sealed      bool // The event comes sealed.
		wantCarried string
		wantError   string
	}{
		{name: "seal", plaintext: PlaintextSeal, wantCarried: "token_sealed"},
		{name: "seal what is sealed", plaintext: PlaintextSeal, sealed: true, wantCarried: "token_sealed"},
		{name: "allow", plaintext: PlaintextAllow, wantCarried: "token"},
		{name: "allow what is sealed", plaintext: PlaintextAllow, sealed: true, wantCarried: "token_sealed"},
		{name: "refuse", plaintext: PlaintextRefuse, wantError: "params.token: is in the clear"},
		{name: "refuse what is sealed", plaintext: PlaintextRefuse, sealed: true, wantCarried: "token_sealed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlant(works)
			sealer := newSealer()
			p.intake.secrets = Secrets{Sealer: sealer, Plaintext: tt.plaintext}
			params := map[string]any{"token": canary}
			if tt.sealed {
				params = map[string]any{"token_sealed": mustSealText(t, sealer, canary)}
			}
			accepted, err := p.intake.Accept(t.Context(), revokeEvent(t, 1, params))
			if tt.wantError != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantError) || len(p.queue) > 0 {
					t.Errorf("the error is %v with %d jobs, want %q and none", err, len(p.queue), tt.wantError)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			carried := p.queued(accepted.JobID)[0].Params.Carried()
			if _, ok := carried[tt.wantCarried]; !ok || len(carried) != 1 {
				t.Errorf("the queue carries %v, want %s", carried, tt.wantCarried)
			}
			if tt.wantCarried == "token_sealed" {
				mustNotShow(t, "the queue", fmt.Sprint(carried))
			}
			mustHideAll(t, p)
		})
	}
}

func TestSealedAndPlainJoin(t *testing.T) {
	t.Parallel()
	p := newPlant(works)
	sealer := newSealer()
	p.intake.secrets = Secrets{Sealer: sealer, Plaintext: PlaintextSeal}
	first, err := p.intake.Accept(t.Context(), revokeEvent(t, 1, map[string]any{"token": canary}))
	if err != nil {
		t.Fatal(err)
	}
	second, err := p.intake.Accept(t.Context(), revokeEvent(t, 2, map[string]any{"token_sealed": mustSealText(t, sealer, canary)}))
	if err != nil {
		t.Fatal(err)
	}
	if second.Result != EventDuplicate || second.JobID != first.JobID {
		t.Errorf("the sealed token made %v, want that it joined %s", second, first.JobID)
	}
}

func TestIntakeWaitsForAKey(t *testing.T) {
	t.Parallel()
	p := newPlant(works)
	sealer := newSealer()
	sealer.fault = errors.New("the key is not mounted")
	p.intake.secrets = Secrets{Sealer: sealer, Plaintext: PlaintextSeal}
	for _, params := range []map[string]any{{"token": canary}, {"token_sealed": mustSealText(t, newSealer(), canary)}} {
		_, err := p.intake.Accept(t.Context(), revokeEvent(t, 1, params))
		if _, malformed := errors.AsType[*Malformed](err); malformed || !errors.Is(err, sealer.fault) {
			t.Errorf("the error is %v, want one that leaves the event to be redelivered", err)
		}
	}
	if len(p.queue)+len(p.values) > 0 {
		t.Error("something was stored")
	}
}

// TestRetryOfASealedJob needs neither the original event nor a key: an operator has none.
func TestRetryOfASealedJob(t *testing.T) {
	t.Parallel()
	p := newPlant(fails(Failure{Reason: ReasonForbidden}), works)
	sealer := newSealer()
	p.intake.secrets = Secrets{Sealer: sealer, Plaintext: PlaintextSeal}
	accepted, err := p.intake.Accept(t.Context(), revokeEvent(t, 1, map[string]any{"token": canary}))
	if err != nil {
		t.Fatal(err)
	}
	job := p.queued(accepted.JobID)[0]
	deliverUntilDone(t, p.runner(t, "w1"), job)
	operator := NewOperator(memoryLedger{p.memory}, memoryTargets{p.memory}, p.memory, noOriginals{}, time.Now)
	if _, err := operator.Retry(t.Context(), job.ID, Operation{Action: ActionRetry, By: "me"}); err != nil {
		t.Fatalf("retrying: %v", err)
	}
	queued := p.queued(job.ID)
	again := queued[len(queued)-1]
	if again.TargetKey() != job.TargetKey() || again.Target() != job.Target() {
		t.Errorf("it is back on target %s (%s), want %s (%s)", again.Target(), again.TargetKey(), job.Target(), job.TargetKey())
	}
	opened, err := again.Params.Open(sealer)
	if err != nil || opened.Secret("token").Reveal() != canary {
		t.Fatalf("opening what is back in the queue: %v", err)
	}
	again.Params = opened
	deliverUntilDone(t, p.runner(t, "w1"), again)
	entry, err := memoryLedger{p.memory}.Load(t.Context(), job.ID)
	if err != nil || entry.Record.Outcome != OutcomeRevoked || entry.Record.Sealed != nil {
		t.Errorf("it ended as %s with %v, want revoked and nothing sealed any more", entry.Record.Outcome, entry.Record.Sealed)
	}
}

type noOriginals struct{ Originals }

// TestPlanKnowsSealedTargets: in one event, the same token sealed twice and in the clear is one job.
func TestPlanKnowsSealedTargets(t *testing.T) {
	t.Parallel()
	sealer := newSealer()
	request := func(raw map[string]any) Request {
		return Request{Kind: kinds.TokenRevoke, Account: "security", Params: mustParams(t, kinds.TokenRevoke, raw)}
	}
	rules := &Rules{Decider: decider{asks("leak",
		request(map[string]any{"token": mustSealText(t, sealer, canary)}),
		request(map[string]any{"token_sealed": mustSealText(t, sealer, canary)}),
		request(map[string]any{"token": canary}),
	)}, Accounts: configured{"security"}, Sealer: sealer}
	plan := rules.Plan(t.Context(), jwksEvent(t, 1, func(e *Event) { e.Class, e.Direct = "other", false }), time.Now())
	if err := plan.Err(); err != nil || len(plan.Jobs) != 1 {
		t.Errorf("the plan has %d jobs and the problems %v, want one job", len(plan.Jobs), err)
	}
	foreign := newSealer()
	foreign.key = "X" + strings.Repeat("B", 55)
	rules.Decider = decider{asks("leak", request(map[string]any{"token": mustSealText(t, foreign, canary)}))}
	plan = rules.Plan(t.Context(), jwksEvent(t, 2, func(e *Event) { e.Class, e.Direct = "other", false }), time.Now())
	if err := plan.Err(); err == nil || !strings.Contains(err.Error(), "is sealed to another key") {
		t.Errorf("the problems are %v, want that the key is another one", err)
	}
}
