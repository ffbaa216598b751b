package secret_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rekey/internal/secret"
)

// environment is a lookup in a map, in place of os.LookupEnv.
func environment(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := vars[name]
		return value, ok
	}
}

func TestRefRead(t *testing.T) {
	tests := []struct {
		name    string
		content *string // Written to the file that the Ref names; nil writes none.
		env     string
		vars    map[string]string
		want    string
		wantErr string // FILE stands for the file's path.
	}{
		{name: "file", content: new("s3cret"), want: "s3cret"},
		{name: "file with newline", content: new("s3cret\n"), want: "s3cret"},
		{name: "file with Windows newline and spaces", content: new(" s3 cret \t\r\n\n"), want: " s3 cret"},
		{name: "file with a byte order mark", content: new("\ufeffs3cret\r\n"), want: "s3cret"},
		{name: "file with empty lines", content: new("\n\r\n  \ns3cret\n\n\t\n"), want: "s3cret"},
		{
			name: "file with a second line", content: new("s3cret\nxxx\n"),
			wantErr: "reading a secret from file FILE: line 2 holds something as well: it must be one line, the secret and nothing else",
		},
		{
			name: "file with a later line", content: new("\n\ns3cret\r\n\r\n# xxx"),
			wantErr: "reading a secret from file FILE: line 5 holds something as well: it must be one line, the secret and nothing else",
		},
		{
			name: "file with a line of an old Mac", content: new("s3cret\rxxx"),
			wantErr: "reading a secret from file FILE: line 2 holds something as well: it must be one line, the secret and nothing else",
		},
		{name: "file in UTF-16", content: new("\xff\xfes\x003\x00\r\x00\n\x00"), wantErr: "reading a secret from file FILE: it is UTF-16: save it as UTF-8"},
		{name: "file in UTF-16, big endian", content: new("\xfe\xff\x00s\x003"), wantErr: "reading a secret from file FILE: it is UTF-16: save it as UTF-8"},
		{name: "file in UTF-16 without a mark", content: new("s\x003\x00c\x00"), wantErr: "reading a secret from file FILE: it is UTF-16: save it as UTF-8"},
		{name: "file with a NUL", content: new("s3c\x00ret"), wantErr: "reading a secret from file FILE: it is no text: byte 4 is zero"},
		{name: "file of a mark alone", content: new("\ufeff\n"), wantErr: "reading a secret from file FILE: it is empty"},
		{name: "variable with a byte order mark", env: "X", vars: map[string]string{"X": "\ufeffs3cret"}, want: "s3cret"},
		{
			name: "variable with a second line", env: "X", vars: map[string]string{"X": "s3cret\nxxx"},
			wantErr: "reading a secret from environment variable X: line 2 holds something as well: it must be one line, the secret and nothing else",
		},
		{name: "file at the limit", content: new(strings.Repeat("x", 64<<10)), want: strings.Repeat("x", 64<<10)},
		{
			name: "file over the limit", content: new(strings.Repeat("x", 64<<10+1)),
			wantErr: "reading a secret from file FILE: it is larger than 64 KiB",
		},
		{name: "empty file", content: new(""), wantErr: "reading a secret from file FILE: it is empty"},
		{name: "blank file", content: new(" \n\t\n"), wantErr: "reading a secret from file FILE: it is empty"},
		{name: "variable", env: "X", vars: map[string]string{"X": "s3cret"}, want: "s3cret"},
		{name: "variable with newline", env: "X", vars: map[string]string{"X": "s3cret\n"}, want: "s3cret"},
		{
			name: "variable not set", env: "X", vars: map[string]string{"Y": "s3cret"},
			wantErr: "reading a secret from environment variable X: it is not set",
		},
		{
			name: "empty variable", env: "X", vars: map[string]string{"X": ""},
			wantErr: "reading a secret from environment variable X: it is empty",
		},
		{name: "nothing named", wantErr: "reading a secret from nowhere: neither a file nor an environment variable is named"},
		{
			name: "two places", content: new("s3cret"), env: "X", vars: map[string]string{"X": "s3cret"},
			wantErr: "reading a secret from file FILE or environment variable X: only one of them may be set",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ref := secret.Ref{Env: tt.env}
			if tt.content != nil {
				ref.File = filepath.Join(t.TempDir(), "value")
				if err := os.WriteFile(ref.File, []byte(*tt.content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := ref.Read(environment(tt.vars))
			checkError(t, err, strings.ReplaceAll(tt.wantErr, "FILE", ref.File))
			if got.Reveal() != tt.want {
				t.Errorf("Read() = %d bytes that are not as wanted", len(got.Reveal()))
			}
		})
	}
}

// Some secrets have several lines; the rest of the rule is the same.
func TestRefReadLines(t *testing.T) {
	const pem = "-----BEGIN X-----\nAA\n-----END X-----"
	lookup := environment(map[string]string{"X": "\ufeff" + pem + "\n", "WIDE": "\xff\xfea\x00", "NONE": "\n"})
	got, err := secret.Ref{Env: "X"}.ReadLines(lookup)
	if err != nil || got.Reveal() != pem {
		t.Errorf("read %d bytes, %v", len(got.Reveal()), err)
	}
	_, err = secret.Ref{Env: "WIDE"}.ReadLines(lookup)
	checkError(t, err, "reading a secret from environment variable WIDE: it is UTF-16: save it as UTF-8")
	_, err = secret.Ref{Env: "NONE"}.ReadLines(lookup)
	checkError(t, err, "reading a secret from environment variable NONE: it is empty")
}

func TestRefReadNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "absent")
	_, err := secret.Ref{File: path}.Read(environment(nil))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v does not say that the file does not exist", err)
	}
	checkError(t, err, "reading a secret from file "+path+": no such file or directory")
}

func TestRefReadDirectory(t *testing.T) {
	path := t.TempDir()
	_, err := secret.Ref{File: path}.Read(environment(nil))
	checkError(t, err, "reading a secret from file "+path+": is a directory")
}

func checkError(t *testing.T, err error, want string) {
	t.Helper()
	got := ""
	if err != nil {
		got = err.Error()
	}
	if got != want {
		t.Errorf("error = %q, want %q", got, want)
	}
	if strings.Contains(got, "s3cret") || strings.Contains(got, "xxx") {
		t.Errorf("the error shows the secret: %s", got)
	}
}

func TestRefString(t *testing.T) {
	tests := []struct {
		name     string
		ref      secret.Ref
		want     string
		wantZero bool
	}{
		{name: "zero", want: "nowhere", wantZero: true},
		{name: "file", ref: secret.Ref{File: "/run/secrets/x"}, want: "file /run/secrets/x"},
		{name: "variable", ref: secret.Ref{Env: "X"}, want: "environment variable X"},
		{name: "both", ref: secret.Ref{File: "/x", Env: "X"}, want: "file /x or environment variable X"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.ref.String(); got != tt.want {
				t.Errorf("String() = %q, want %q", got, tt.want)
			}
			if got := tt.ref.IsZero(); got != tt.wantZero {
				t.Errorf("IsZero() = %v, want %v", got, tt.wantZero)
			}
		})
	}
}
