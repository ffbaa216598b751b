package jobs

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/kinds"
)

// request parses the text of a request.
func request(t *testing.T, text string) (Request, error) {
	t.Helper()
	doc, err := ParseDocument([]byte(text))
	if err != nil {
		t.Fatalf("ParseDocument: %v", err)
	}
	return ParseRequest(doc)
}

// flat is a request whose parameters can be compared.
type flat struct {
	Request
	Revealed map[string]string
}

func flatten(r Request) flat {
	f := flat{Request: r, Revealed: r.Params.Carried()}
	f.Params = Params{}
	return f
}

func TestParseRequest(t *testing.T) {
	const x509 = `"kind": "x509.disable", "params": {"project_id": "` + idA + `"}`
	project := map[string]string{"project_id": idA}
	tests := []struct {
		name string
		text string
		want flat
	}{
		{name: "shortest", text: `{` + x509 + `}`, want: flat{Request: Request{Kind: kinds.X509Disable}, Revealed: project}},
		{
			name: "all fields",
			text: `{` + x509 + `, "account": "security", "lane": "bulk", "reason": "IR-4711 “leak”", "requested_by": "jo",
				"expires_at": "2026-11-24T04:00:00.5+01:00", "coalesce": false}`,
			want: flat{
				Request: Request{
					Kind: kinds.X509Disable, Account: "security", Lane: LaneBulk, Reason: "IR-4711 “leak”", RequestedBy: "jo",
					ExpiresAt: time.Date(2026, 11, 24, 3, 0, 0, 5e8, time.UTC), Separate: true,
				},
				Revealed: project,
			},
		},
		{
			name: "empty texts are left out", text: `{` + x509 + `, "account": "", "lane": "", "reason": "", "expires_at": "", "coalesce": true}`,
			want: flat{Request: Request{Kind: kinds.X509Disable}, Revealed: project},
		},
		{
			name: "secret", text: `{"kind": "token.revoke", "params": {"token": "` + canary + `"}}`,
			want: flat{Request: Request{Kind: kinds.TokenRevoke}, Revealed: map[string]string{"token": canary}},
		},
		{
			name: "dry run", text: `{` + x509 + `, "dry_run": true}`, want: flat{Request: Request{Kind: kinds.X509Disable, DryRun: true}, Revealed: project},
		},
		{
			name: "no dry run", text: `{` + x509 + `, "dry_run": false}`, want: flat{Request: Request{Kind: kinds.X509Disable}, Revealed: project},
		},
		{
			name: "longest text", text: `{` + x509 + `, "reason": "` + strings.Repeat("x", 1024) + `"}`,
			want: flat{Request: Request{Kind: kinds.X509Disable, Reason: strings.Repeat("x", 1024)}, Revealed: project},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req, err := request(t, tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, flatten(req), cmp.AllowUnexported(Params{})); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseRequestMistakes(t *testing.T) {
	const (
		kinds = "the kinds are token.revoke, jwks.revoke, x509.disable, idp.delete, role_mapping.delete, " +
			"service_account_secret.delete, service_account.delete, api_key.delete, database_user.delete, database_user.scramble, " +
			"org_user.remove, project_user.remove, leak.contain, service_account_secret.rotate, api_key.rotate"
		fields = "the fields are kind, params, account, lane, reason, requested_by, on_behalf_of, expires_at, coalesce, dry_run, proof"
		date   = "line 2: expires_at: must be a time like 2026-11-24T03:00:00Z (RFC 3339)"
	)
	with := func(more string) string {
		return "{\"kind\": \"x509.disable\", \"params\": {\"project_id\": \"" + idA + "\"},\n" + more + "}"
	}
	tests := []struct {
		name string
		text string
		want string
	}{
		{name: "nothing", text: "{}", want: "line 1: kind: is required; " + kinds},
		{name: "unknown kind", text: "{\n\"kind\": \"" + canary + "\"}", want: "line 2: kind: unknown kind; " + kinds},
		{name: "kind as number", text: `{"kind": 1}`, want: "line 1: kind: must be a string, not a number"},
		{name: "kind as null", text: `{"kind": null}`, want: "line 1: kind: must be a string, not null"},
		{name: "no params", text: `{"kind": "x509.disable"}`, want: "line 1: params.project_id: required by x509.disable"},
		{name: "params as null", text: `{"kind": "x509.disable", "params": null}`, want: "line 1: params.project_id: required by x509.disable"},
		{
			name: "params as text", text: "{\"kind\": \"x509.disable\",\n\"params\": \"" + canary + "\"}",
			want: "line 2: params: must be an object, not a string",
		},
		{name: "params as array", text: `{"kind": "x509.disable", "params": []}`, want: "line 1: params: must be an object, not an array"},
		{
			name: "missing parameter", text: "{\"kind\": \"x509.disable\",\n\"params\": {\n}}",
			want: "line 2: params.project_id: required by x509.disable",
		},
		{
			name: "bad parameter", text: "{\"kind\": \"x509.disable\", \"params\": {\n\n\"project_id\": \"" + canary + "\"}}",
			want: "line 3: params.project_id: must be 24 lower-case hexadecimal digits",
		},
		{name: "unknown field", text: with(`"Lane": "urgent"`), want: "line 2: Lane: unknown field; " + fields},
		{name: "secret as a field", text: with(`"` + canary + canary + `": 1`), want: "line 2: (a name of 64 bytes): unknown field; " + fields},
		{name: "unknown lane", text: with(`"lane": "` + canary + `"`), want: "line 2: lane: unknown lane; the lanes are urgent, normal, bulk"},
		{name: "lane as number", text: with(`"lane": 1`), want: "line 2: lane: must be a string, not a number"},
		{name: "long lane", text: with(`"lane": "` + strings.Repeat("x", 1025) + `"`), want: "line 2: lane: has 1025 bytes; the limit is 1024"},
		{name: "account as object", text: with(`"account": {}`), want: "line 2: account: must be a string, not an object"},
		{name: "reason with a newline", text: with(`"reason": "a\nb"`), want: "line 2: reason: must not contain control characters"},
		{name: "reason with an escape sequence", text: with(`"reason": "\u009b2J"`), want: "line 2: reason: must not contain control characters"},
		{name: "requested_by with DEL", text: with(`"requested_by": "\u007f"`), want: "line 2: requested_by: must not contain control characters"},
		{name: "long reason", text: with(`"reason": "` + strings.Repeat("x", 1025) + `"`), want: "line 2: reason: has 1025 bytes; the limit is 1024"},
		{name: "date without time", text: with(`"expires_at": "2026-11-24"`), want: date},
		{name: "date without zone", text: with(`"expires_at": "2026-11-24T03:00:00"`), want: date},
		{name: "invalid date", text: with(`"expires_at": "2026-02-30T03:00:00Z"`), want: date},
		{name: "seconds", text: with(`"expires_at": 3600`), want: "line 2: expires_at: must be a string, not a number"},
		{name: "control characters in a date", text: with(`"expires_at": "\n"`), want: "line 2: expires_at: must not contain control characters"},
		{name: "year 1 means never inside", text: with(`"expires_at": "0001-01-01T00:00:00Z"`), want: date},
		{name: "year that JSON cannot hold", text: with(`"expires_at": "9999-12-31T23:59:59-01:00"`), want: date},
		{name: "coalesce as text", text: with(`"coalesce": "false"`), want: "line 2: coalesce: must be true or false, not a string"},
		{name: "dry_run as text", text: with(`"dry_run": "false"`), want: "line 2: dry_run: must be true or false, not a string"},
		{name: "coalesce as null", text: with(`"coalesce": null`), want: "line 2: coalesce: must be true or false, not null"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req, err := request(t, tt.text)
			problems := malformed(t, err)
			if len(problems) != 1 || problems[0].Error() != tt.want {
				t.Errorf("mistakes %q, want the one %q", problems, tt.want)
			}
			if diff := cmp.Diff(flatten(Request{}), flatten(req), cmp.AllowUnexported(Params{})); diff != "" {
				t.Errorf("a request that was rejected (-want +got):\n%s", diff)
			}
			mustNotShow(t, "the error", fmt.Sprint(err))
		})
	}
}

func TestParseRequestReportsAllMistakes(t *testing.T) {
	_, err := request(t, `{
  "kind": "jwks.revoke",
  "params": {
    "federation_id": "`+canary+`",
    "token": "`+canary+`"
  },
  "lane": "`+canary+`",
  "expires_at": "`+canary+`",
  "coalesce": 1,
  "priority": "`+canary+`"
}`)
	want := []string{
		"line 10: priority: unknown field; the fields are kind, params, account, lane, reason, requested_by, on_behalf_of, expires_at, coalesce, dry_run, proof",
		"line 8: expires_at: must be a time like 2026-11-24T03:00:00Z (RFC 3339)",
		"line 9: coalesce: must be true or false, not a number",
		"line 4: params.federation_id: must be 24 lower-case hexadecimal digits",
		"line 5: params.token: unknown parameter; jwks.revoke takes federation_id, identity_provider_id",
		"line 3: params.identity_provider_id: required by jwks.revoke",
		"line 7: lane: unknown lane; the lanes are urgent, normal, bulk",
	}
	var got []string
	for _, m := range malformed(t, err) {
		got = append(got, m.Error())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("mistakes (-want +got):\n%s", diff)
	}
	mustNotShow(t, "the error", fmt.Sprint(err))
}
