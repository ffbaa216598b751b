package jobs

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/kinds"
)

// TestIDIsStable holds the ids of jobs over upgrades: an event that was taken in by one
// version and is repeated under another is still the same job.
func TestIDIsStable(t *testing.T) {
	const direct = "3144nzxbpej5tjhhvyta6edxt0"
	want := map[string]string{
		"token":                               "exw8zkx3rkq1vfqkp6pnp7xnp4",
		"token file":                          "qbencq16hwz5x089qkngcckweg",
		"jwks":                                "hv0qyq0h9e6hg4sssvff2vjxwg",
		"x509":                                "kcwsb2rpv7tj3cstghck4g0s4c",
		"idp":                                 "p42c58nbwxh76p669xjzef3tg4",
		"role mapping":                        "tq40jr8jzzxrpghbt33jf765mc",
		"API key":                             "w81sv0qs801kyejsr6q7b2pqxw",
		"database user":                       "svchpmj8v8mh49jrx4vjx1nhb0",
		"password":                            "h9nr8wg53qemhjgp2k0gegrs44",
		"person of a project":                 "r07v1bb795xmvjzagvaz14vpa0",
		"person of an organization":           "jn2bz5s30988hxma2xr6ve0bv0",
		"secret of a project's account":       "bprb0scw1mwfr7k7ar6y6wgw6w",
		"secret of an organization's account": "8njknz7279gy7h0sk8hpnecz78",
		"service account":                     "z8afev378f6x355p22eyhcb4er",
		"client secret":                       "ys62wm31netw9yw8x6f99gbpk0",
		"file with a client secret":           "8e9z6v5jjjz7gddbz1737jp714",
		"name in a project":                   "3nbjhr8bg40r7g9zzsepcx8bgc",
		"name in an organization":             "3tsnm8qh1dwemsvxkzpd2f93cg",
		"public key":                          "mp66dkxrekx31twxvg2c9059v4",
	}
	if got := ID("siem", "IR-4711"); got != direct {
		t.Errorf("the id of a direct request is %s, want %s", got, direct)
	}
	got := map[string]string{}
	for _, tt := range goodParams() {
		got[tt.name] = policyJob(t, "siem", "IR-4711", tt.kind, tt.raw).ID
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ids changed (-want +got):\n%s", diff)
	}
}

// policyJob is a job that a policy makes of an event.
func policyJob(t *testing.T, source, id string, kind Kind, raw map[string]any) Job {
	t.Helper()
	e := Event{Request: Request{Kind: kind, Params: mustParams(t, kind, raw), Policy: "p"}}
	e.Source, e.ID = source, id
	return newJob(e, "security")
}

// TestTargetKeyIsStable holds the keys under which the ledger keeps who has a target.
func TestTargetKeyIsStable(t *testing.T) {
	want := map[string]string{
		"token":                               "2f84b1ccfcf752fcb2c538d20489699a",
		"token file":                          "cd2aad9ea44a1de71d6e61f7d1dfb27a",
		"jwks":                                "32c374839c585b602b7930bf94e25f5b",
		"x509":                                "e1ca9943b95c6aa204d95740bdc88c84",
		"idp":                                 "14789401c53f636bf4e042530f76554a",
		"role mapping":                        "16aed1cd9b710aa38808696aff2caa81",
		"API key":                             "fb7ce58f0940ef8e18871e198404553c",
		"database user":                       "74fe275fd519898b3f33434f3cb93722",
		"password":                            "5effc6a3a2cd83f062657da4f25a3610",
		"person of a project":                 "999524fe48b3afece874c233673d0e0c",
		"person of an organization":           "17a7c16fd946190fdfccabf542fdbde4",
		"secret of a project's account":       "dc181d359eb8a9ea4f14eec63194d369",
		"secret of an organization's account": "bb7cdbbd4f3c31e8698c8607b916e6f3",
		"service account":                     "46e6d5f1c4bb6c68f66ca7faa5c95fc8",
		"client secret":                       "1fdcbfe3ca8ea1df64a90a777f766a84",
		"file with a client secret":           "a77fcaea870a3120d5e8b8349dd676b0",
		"name in a project":                   "811051645555bce206bbd82f9e8fcc2d",
		"name in an organization":             "0af08cfc0e011a81877638af9a1d3b97",
		"public key":                          "f9546b484cb16b89e6ea3f0ef92271b1",
	}
	got := map[string]string{}
	for _, tt := range goodParams() {
		got[tt.name] = Job{Kind: tt.kind, Account: "security", Params: mustParams(t, tt.kind, tt.raw)}.TargetKey()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys changed (-want +got):\n%s", diff)
	}
}

func TestIDIsFitForSubjectsAndKeys(t *testing.T) {
	for _, tt := range goodParams() {
		id := policyJob(t, "a source with spaces.>*", "\x00\n", tt.kind, tt.raw).ID
		if len(id) != 26 || strings.Trim(id, "0123456789abcdefghjkmnpqrstvwxyz") != "" {
			t.Errorf("id %q", id)
		}
	}
}

// TestIDTellsApart makes jobs that differ in one thing, and in where one thing ends and
// the next begins.
func TestIDTellsApart(t *testing.T) {
	tests := []struct {
		name       string
		source, id string
		kind       Kind
		raw        map[string]any
	}{
		{name: "base", source: "siem", id: "1", kind: kinds.IDPDelete, raw: map[string]any{"federation_id": idA, "identity_provider_id": idB}},
		{name: "another kind on the same target", source: "siem", id: "1", kind: kinds.JWKSRevoke, raw: map[string]any{"federation_id": idA, "identity_provider_id": idB}},
		{name: "ids exchanged", source: "siem", id: "1", kind: kinds.IDPDelete, raw: map[string]any{"federation_id": idB, "identity_provider_id": idA}},
		{name: "another id", source: "siem", id: "2", kind: kinds.IDPDelete, raw: map[string]any{"federation_id": idA, "identity_provider_id": idB}},
		{name: "another source", source: "soar", id: "1", kind: kinds.IDPDelete, raw: map[string]any{"federation_id": idA, "identity_provider_id": idB}},
		{name: "a character moves to the id", source: "sie", id: "m1", kind: kinds.IDPDelete, raw: map[string]any{"federation_id": idA, "identity_provider_id": idB}},
		{name: "a character moves to the source", source: "siem1", id: "", kind: kinds.IDPDelete, raw: map[string]any{"federation_id": idA, "identity_provider_id": idB}},
		{name: "everything in the id", source: "", id: "siem1", kind: kinds.IDPDelete, raw: map[string]any{"federation_id": idA, "identity_provider_id": idB}},
		{name: "separators in the id", source: "siem", id: "1\x00", kind: kinds.IDPDelete, raw: map[string]any{"federation_id": idA, "identity_provider_id": idB}},
		{name: "project", source: "siem", id: "1", kind: kinds.X509Disable, raw: map[string]any{"project_id": idA}},
		{name: "token", source: "siem", id: "1", kind: kinds.TokenRevoke, raw: map[string]any{"token": "/x"}},
		{name: "another token", source: "siem", id: "1", kind: kinds.TokenRevoke, raw: map[string]any{"token": "/y"}},
		{name: "token file of that name", source: "siem", id: "1", kind: kinds.TokenRevoke, raw: map[string]any{"token_file": "/x"}},
		{name: "token that looks like a file's target", source: "siem", id: "1", kind: kinds.TokenRevoke, raw: map[string]any{"token": "file:/x"}},
		{
			name: "token that looks like a token's hash", source: "siem", id: "1", kind: kinds.TokenRevoke,
			raw: map[string]any{"token": "sha256:ba7816bf8f01"},
		},
	}
	seen := map[string]string{}
	for _, tt := range tests {
		id := policyJob(t, tt.source, tt.id, tt.kind, tt.raw).ID
		if other, ok := seen[id]; ok {
			t.Errorf("%q and %q are the same job %s", tt.name, other, id)
		}
		seen[id] = tt.name
	}
}

// TestTargetKeyAccount: a token can be revoked by the account that owns it only, and the
// API does not say that another one's call did nothing. Other targets are the same for all.
func TestTargetKeyAccount(t *testing.T) {
	for _, tt := range goodParams() {
		t.Run(tt.name, func(t *testing.T) {
			p := mustParams(t, tt.kind, tt.raw)
			security := Job{Kind: tt.kind, Params: p, Account: "security"}.TargetKey()
			legacy := Job{Kind: tt.kind, Params: p, Account: "legacy"}.TargetKey()
			if differ := security != legacy; differ != (tt.kind == kinds.TokenRevoke) {
				t.Errorf("keys %s and %s", security, legacy)
			}
		})
	}
}

func TestEventRefSame(t *testing.T) {
	e := EventRef{Source: "siem", ID: "1", Subject: "rekey.v1.event.incident", Seq: 1, At: time.Unix(1, 0)}
	tests := []struct {
		name  string
		other EventRef
		want  bool
	}{
		{name: "itself", other: e, want: true},
		{name: "published again", other: EventRef{Source: "siem", ID: "1", Subject: "rekey.v1.event.rotation", Seq: 9, At: time.Unix(9, 0)}, want: true},
		{name: "another id", other: EventRef{Source: "siem", ID: "2", Seq: 1}},
		{name: "another source", other: EventRef{Source: "soar", ID: "1", Seq: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := e.Same(tt.other); got != tt.want {
				t.Errorf("Same = %v", got)
			}
		})
	}
}

func TestNewJob(t *testing.T) {
	at := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	e := jwksEvent(t, 7, func(e *Event) { e.At, e.Request.ExpiresAt = at, at.Add(time.Hour) })
	want := Job{
		ID: ID("siem", "event-7"), Digest: "54041e69669355154115c71527f7e250", Kind: kinds.JWKSRevoke, Account: "security", Lane: LaneUrgent,
		Origin: OriginEvent, Reason: "IR-4711", RequestedBy: "soar", Event: e.EventRef, AcceptedAt: at, ExpiresAt: at.Add(time.Hour),
	}
	got := newJob(e, "security")
	if diff := cmp.Diff(e.Request.Params.Carried(), got.Params.Carried()); diff != "" {
		t.Errorf("params (-want +got):\n%s", diff)
	}
	got.Params = Params{}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Params{})); diff != "" {
		t.Errorf("job (-want +got):\n%s", diff)
	}
	e.Request.Lane = LaneBulk
	if got := newJob(e, "security").Lane; got != LaneBulk {
		t.Errorf("a lane that was asked for became %s", got)
	}
}
