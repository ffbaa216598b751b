package sandbox

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseFault(t *testing.T) {
	tests := []struct {
		name, text string
		want       Fault
		wantErr    []string // Parts of the error; none for success.
	}{
		{name: "short", text: "any:503", want: Fault{Operation: "any", Kind: "503"}},
		{
			name: "everything", text: "jwks.revoke:429:retry_after=2:times=1:delay=1m30s:error_code=RATE_LIMITED",
			want: Fault{Operation: "jwks.revoke", Kind: "429", RetryAfter: "2", Times: 1, Delay: 90 * time.Second, ErrorCode: "RATE_LIMITED"},
		},
		{name: "relative date", text: "token:503:retry_after=date:2s:times=3", want: Fault{Operation: "token", Kind: "503", RetryAfter: "date:2s", Times: 3}},
		{name: "past date", text: "token:503:retry_after=date:-2s", want: Fault{Operation: "token", Kind: "503", RetryAfter: "date:-2s"}},
		{
			name: "HTTP date", text: "token:503:retry_after=Wed, 21 Oct 2015 07:28:00 GMT:times=1",
			want: Fault{Operation: "token", Kind: "503", RetryAfter: "Wed, 21 Oct 2015 07:28:00 GMT", Times: 1},
		},
		{name: "nonsense on purpose", text: "token:429:retry_after=soon", want: Fault{Operation: "token", Kind: "429", RetryAfter: "soon"}},
		{name: "status of a page", text: "idp.delete:html:status=502", want: Fault{Operation: "idp.delete", Kind: "html", Status: 502}},
		{name: "no effect", text: "role_mapping.delete:204", want: Fault{Operation: "role_mapping.delete", Kind: "204"}},

		{name: "empty", text: "", wantErr: []string{"the form is operation:kind"}},
		{name: "no kind", text: "token", wantErr: []string{"the form is operation:kind"}},
		{name: "unknown operation", text: "revoke:429", wantErr: []string{"operation", `"revoke"`, "jwks.revoke"}},
		{name: "unknown kind", text: "token:oops", wantErr: []string{"kind", `"oops"`, "reset_after"}},
		{name: "status too low", text: "token:199", wantErr: []string{"kind"}},
		{name: "status too high", text: "token:600", wantErr: []string{"kind"}},
		{name: "status with a sign", text: "token:+429", wantErr: []string{"kind"}},
		{name: "unknown field", text: "token:429:after=2", wantErr: []string{`field "after"`, "retry_after"}},
		{name: "unknown field after Retry-After", text: "token:429:retry_after=2:tmies=1", wantErr: []string{`field "tmies"`}},
		{name: "no field", text: "token:429:", wantErr: []string{`field ""`}},
		{name: "value after a number", text: "token:429:retry_after=2:1", wantErr: []string{`field "1"`}},
		{name: "twice", text: "token:429:times=1:times=2", wantErr: []string{"times", "twice"}},
		{name: "no number of times", text: "token:429:times=x", wantErr: []string{"times", `"x"`}},
		{name: "negative times", text: "token:429:times=-1", wantErr: []string{"times", "negative"}},
		{name: "no delay", text: "token:slow", wantErr: []string{"delay"}},
		{name: "delay is no duration", text: "token:slow:delay=2", wantErr: []string{"delay", `"2"`}},
		{name: "delay too long", text: "token:slow:delay=6m", wantErr: []string{"delay", "5m0s"}},
		{name: "negative delay", text: "token:429:delay=-1s", wantErr: []string{"delay"}},
		{name: "date is no duration", text: "token:429:retry_after=date:2", wantErr: []string{"retry_after", `"2"`}},
		{name: "date without duration", text: "token:429:retry_after=date", want: Fault{Operation: "token", Kind: "429", RetryAfter: "date"}},
		{name: "line break in a header", text: "token:429:retry_after=a\r\nb", wantErr: []string{"retry_after"}},
		{name: "header too long", text: "token:429:retry_after=" + strings.Repeat("x", 257), wantErr: []string{"retry_after", "256"}},
		{name: "status of a kind without", text: "token:429:status=500", wantErr: []string{"status", "html"}},
		{name: "status is no number", text: "token:html:status=x", wantErr: []string{"status", `"x"`}},
		{name: "status without body", text: "token:html:status=204", wantErr: []string{"status"}},
		{name: "error code of success", text: "token:204:error_code=X", wantErr: []string{"error_code"}},
		{name: "error code of a page", text: "token:html:error_code=X", wantErr: []string{"error_code"}},
		{name: "odd error code", text: `token:400:error_code=X"Y`, wantErr: []string{"error_code"}},
		{name: "two mistakes", text: "x:y", wantErr: []string{"operation", "kind"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseFault(tt.text)
			if len(tt.wantErr) == 0 {
				if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
					t.Fatalf("error %v, fault (-want +got):\n%s", err, diff)
				}
				return
			}
			if err == nil {
				t.Fatalf("no error; got %+v", got)
			}
			for _, part := range tt.wantErr {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not say %q", err, part)
				}
			}
		})
	}
}

func TestInject(t *testing.T) {
	var s Sandbox
	if err := s.Inject(Fault{Operation: "any", Kind: "429"}, Fault{Operation: "any", Kind: "oops"}); err == nil || len(s.faults) != 0 {
		t.Errorf("a bad fault: %v, and %d faults are in", err, len(s.faults))
	}
	good := make([]Fault, maxFaults)
	for i := range good {
		good[i] = Fault{Operation: "any", Kind: "429"}
	}
	if err := s.Inject(good...); err != nil {
		t.Fatal(err)
	}
	if err := s.Inject(good[0]); err == nil || len(s.faults) != maxFaults {
		t.Errorf("one too many: %v, and %d faults are in", err, len(s.faults))
	}
	s.ClearFaults()
	if len(s.faults) != 0 {
		t.Errorf("%d faults are left", len(s.faults))
	}
}

func TestFaultOrder(t *testing.T) {
	f := newFixture(t, Config{})
	err := f.Inject(
		Fault{Operation: OperationJWKSRevoke, Kind: "500", Times: 2},
		Fault{Operation: OperationX509Disable, Kind: "404"},
		Fault{Operation: OperationAny, Kind: "503", Times: 1},
	)
	if err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		name, path string
		want       int
	}{
		{name: "the first of two", path: jwksPath, want: 500},
		{name: "another operation, without a limit", path: x509Path, want: 404},
		{name: "by the other path", path: x509PathV, want: 404},
		{name: "the second of two", path: jwksPath, want: 500},
		{name: "any operation", path: jwksPath, want: 503},
		{name: "used up", path: jwksPath, want: 204},
		{name: "still without a limit", path: x509Path, want: 404},
	}
	for _, tt := range steps {
		t.Run(tt.name, func(t *testing.T) {
			if got := f.bearer(ClientID, "DELETE", tt.path); got.status != tt.want {
				t.Errorf("got %d, want %d", got.status, tt.want)
			}
		})
	}
	if diff := cmp.Diff([]Fault{{Operation: OperationX509Disable, Kind: "404"}}, f.State().Faults); diff != "" {
		t.Errorf("what is left (-want +got):\n%s", diff)
	}
	f.ClearFaults()
	if got := f.bearer(ClientID, "DELETE", x509Path); got.status != 202 {
		t.Errorf("after clearing: %d", got.status)
	}
}
