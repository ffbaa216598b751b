package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRequest(t *testing.T) {
	t.Parallel()
	flags := submitFlags{
		account: "security", lane: "bulk", reason: "IR-4711", requestedBy: "me", separate: true,
	}
	got, err := (&cli{}).request("x509.disable", []string{"project_id=5ec0000000000000000000f1"}, &flags)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"kind": "x509.disable", "params": map[string]any{"project_id": "5ec0000000000000000000f1"}, "account": "security",
		"lane": "bulk", "reason": "IR-4711", "requested_by": "me", "coalesce": false,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

func TestParams(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name      string
		pairs     []string
		want      map[string]any
		wantErr   string
		wantUsage bool
	}{
		{name: "none", want: map[string]any{}},
		{name: "plain", pairs: []string{"a=1", "b=x=y", "c="}, want: map[string]any{"a": "1", "b": "x=y", "c": ""}},
		{name: "standard input", pairs: []string{"token=@-"}, want: map[string]any{"token": "from a pipe"}},
		{name: "file", pairs: []string{"token=@" + file}, want: map[string]any{"token": "from a file"}},
		{name: "no value", pairs: []string{"canary"}, wantErr: "parameters must look like name=value", wantUsage: true},
		{name: "twice", pairs: []string{"a=canary", "a=canary"}, wantErr: "a parameter is given twice", wantUsage: true},
		{name: "no file", pairs: []string{"a=@" + file + ".gone"}, wantErr: "no such file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := &cli{stdin: strings.NewReader(" from a pipe \n")}
			got, err := c.params(tt.pairs)
			if diff := cmp.Diff(tt.want, got); tt.wantErr == "" && diff != "" {
				t.Errorf("params (-want +got):\n%s", diff)
			}
			if (err != nil) != (tt.wantErr != "") || !strings.Contains(errorText(err), tt.wantErr) {
				t.Errorf("the error is %v, want %q", err, tt.wantErr)
			}
			if _, ok := errors.AsType[*usageError](err); ok != tt.wantUsage {
				t.Errorf("usage error: %t, want %t", ok, tt.wantUsage)
			}
			if strings.Contains(errorText(err), "canary") {
				t.Errorf("the error repeats a value: %v", err)
			}
		})
	}
}
