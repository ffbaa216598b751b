package secret_test

import (
	"testing"

	"rekey/internal/secret"
)

func TestShapes(t *testing.T) {
	t.Parallel()
	const jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.c2ln"
	mark := func(text string) string { return secret.Mark(secret.New(text)) }
	tests := []struct{ name, text, want string }{
		{"nothing", "IR-4711, see mdb_sa_id_5ec0000000000000000000a1", "IR-4711, see mdb_sa_id_5ec0000000000000000000a1"},
		{"a client secret", "found mdb_sa_sk_Ab-_9 there", "found " + mark("mdb_sa_sk_Ab-_9") + " there"},
		{"a JWT", "(" + jwt + ")", "(" + mark(jwt) + ")"},
		{"two", jwt + " " + jwt, mark(jwt) + " " + mark(jwt)},
		{"a sealed value", "rekey-seal.v1.XAFC.WEJJSDRFRzRJ", "rekey-seal.v1.XAFC.WEJJSDRFRzRJ"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := string(secret.ReplaceShapes([]byte(tt.text))); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if got, want := secret.HasShape([]byte(tt.text)), tt.want != tt.text; got != want {
				t.Errorf("HasShape is %v, want %v", got, want)
			}
		})
	}
}

func TestScrub(t *testing.T) {
	t.Parallel()
	long, short := secret.New("s3cr3t-of-somebody"), secret.New("abc")
	got := secret.Scrub("abc s3cr3t-of-somebody mdb_sa_sk_x", long, short)
	if want := "abc " + secret.Mark(long) + " " + secret.Mark(secret.New("mdb_sa_sk_x")); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
