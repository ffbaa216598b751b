package jobs

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestGoldenIdentities holds what names a job in ledgers and streams that outlive every release: id, digest, key of the
// target, and the target as it is shown.
func TestGoldenIdentities(t *testing.T) {
	const token = "eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjE4MDB9.c2lnbmF0dXJl"
	id24 := func(digit string) string { return strings.Repeat(digit, 24) }
	federation, idp := id24("a"), id24("b")
	tests := []struct {
		name    string
		kind    Kind
		params  map[string]any
		account string
		dryRun  bool
		policy  string
		want    []string
	}{
		{
			name: "token", kind: "token.revoke", params: map[string]any{"token": token},
			want: []string{"36ehfwemwy28t7errbzgk4z490", "f5f680b10fc67135239bb1f253d5f18f", "ba165436a0932bf55e5c4a1013b04c7e", "sha256:c66dc9492405"},
		},
		{
			name: "token of another account", kind: "token.revoke", params: map[string]any{"token": token}, account: "other",
			want: []string{"36ehfwemwy28t7errbzgk4z490", "8ef4752933ce774d6fab523f9da68fff", "d883910c52aa5b8c39a358a4d8f1464e", "sha256:c66dc9492405"},
		},
		{
			name: "token of a policy", kind: "token.revoke", params: map[string]any{"token": token}, policy: "p",
			want: []string{"rrq03mrbbbhm444z44mmjm8kr8", "f5f680b10fc67135239bb1f253d5f18f", "ba165436a0932bf55e5c4a1013b04c7e", "sha256:c66dc9492405"},
		},
		{
			name: "token file", kind: "token.revoke", params: map[string]any{"token_file": "/run/secrets/token"}, policy: "p",
			want: []string{"7dcwtwf54bhrcs86ezpt3hgga0", "75664d6985579af5d8c275a47f35b581", "279be260f88cc6d0afa5b286c6c7ce2f", "file:/run/secrets/token"},
		},
		{
			name: "token reference", kind: "token.revoke", params: map[string]any{"token_ref": "vault:ci/atlas#token"}, policy: "p",
			want: []string{"9sb2c74pfhrxj461srff1h7k6g", "71182ad6ae65f5d7107962976b01a2bc", "ff3689cf4b2f603853d5ba1c81a5a505", "vault:ci/atlas#token"},
		},
		{
			name: "sealed token", kind: "token.revoke", params: map[string]any{"token_sealed": "rekey-seal.1.XAAAA.BBBB"}, policy: "p",
			want: []string{"h0xkf80vpnb11gcqe3p0fy65hc", "ccf6af56403ecfd016179a532f4e3c6f", "6a403c055d751e13b2b281f5cca9d35a", "sealed:59ddd8cec2c9"},
		},
		{
			name: "sealed in place", kind: "token.revoke", params: map[string]any{"token": "rekey-seal.1.XAAAA.BBBB"}, policy: "p",
			want: []string{"h0xkf80vpnb11gcqe3p0fy65hc", "ccf6af56403ecfd016179a532f4e3c6f", "6a403c055d751e13b2b281f5cca9d35a", "sealed:59ddd8cec2c9"},
		},
		{
			name: "jwks", kind: "jwks.revoke", params: map[string]any{"federation_id": federation, "identity_provider_id": idp}, policy: "p",
			want: []string{"pzx4bcv83vc2dvcqzq5z8xaahm", "54041e69669355154115c71527f7e250", "32c374839c585b602b7930bf94e25f5b", "federation/aaaaaaaaaaaaaaaaaaaaaaaa/idp/bbbbbbbbbbbbbbbbbbbbbbbb"},
		},
		{
			name: "dry run", kind: "jwks.revoke", params: map[string]any{"federation_id": federation, "identity_provider_id": idp}, dryRun: true,
			want: []string{"jajdsm5d0xh1c01dz42mwbg2e0", "cdf68355a085ba0e5b69d30658fd6b22", "6ea3f2ffff24f9fe16372bd43308818c", "federation/aaaaaaaaaaaaaaaaaaaaaaaa/idp/bbbbbbbbbbbbbbbbbbbbbbbb"},
		},
		{
			name: "idp", kind: "idp.delete", params: map[string]any{"federation_id": federation, "identity_provider_id": idp}, policy: "p",
			want: []string{"2q1mt3f9rbaz1n2xrf2e5r9w3g", "ee725e0fa18966b4c158e2915d8adf6c", "14789401c53f636bf4e042530f76554a", "federation/aaaaaaaaaaaaaaaaaaaaaaaa/idp/bbbbbbbbbbbbbbbbbbbbbbbb"},
		},
		{
			name: "role mapping", kind: "role_mapping.delete", params: map[string]any{"federation_id": federation, "org_id": id24("c"), "role_mapping_id": id24("e")}, policy: "p",
			want: []string{"ra9k8e1r25xbe7sxdhmx102gmw", "727fb69435f848e04980e8c52d1aad65", "b48bf0b6a7f0b6d34e86bcf8bf961ebb", "federation/aaaaaaaaaaaaaaaaaaaaaaaa/org/cccccccccccccccccccccccc/role_mapping/eeeeeeeeeeeeeeeeeeeeeeee"},
		},
		{
			name: "x509", kind: "x509.disable", params: map[string]any{"project_id": id24("d")}, policy: "p",
			want: []string{"javnd0ek8nxwetmthm2psgmc50", "da36740b47483a44a52a1b05321e9acf", "490fe30d95f411584820bacffca5bc3c", "project/dddddddddddddddddddddddd"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			params, err := NewParams(tt.kind, tt.params)
			if err != nil {
				t.Fatal(err)
			}
			e := Event{EventRef: EventRef{Source: "/siem", ID: "4711"}, Request: Request{Kind: tt.kind, Params: params, DryRun: tt.dryRun, Policy: tt.policy}}
			if tt.account == "" {
				tt.account = "security"
			}
			j := newJob(e, tt.account)
			if diff := cmp.Diff(tt.want, []string{j.ID, j.Digest, j.TargetKey(), j.Target()}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
