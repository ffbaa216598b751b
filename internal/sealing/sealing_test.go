package sealing_test

import (
	"errors"
	"strings"
	"testing"

	"rekey/internal/redact"
	"rekey/internal/sealing"
	"rekey/internal/secret"
)

// sealer makes one form of all secrets, and counts them.
type sealer struct{ calls int }

const form = "rekey-seal.v1.x"

func (s *sealer) Seal(secret.Value) (string, error) {
	s.calls++
	return form, nil
}

// TestManySecrets: what would be too large with its secrets sealed is given up as soon as that is known. A text of a megabyte, all of which was sealed first,
// took a minute of the processor.
func TestManySecrets(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, part  string
		most, calls int
		err         error
	}{
		{"the same, within the limit", "mdb_sa_sk_a ", 100 * len(form), 1, nil},
		{"the same, beyond the limit", "mdb_sa_sk_a ", 99 * len(form), 1, sealing.ErrTooLarge},
		{"all different", "", 9 * len(form), 10, sealing.ErrTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var text strings.Builder
			for i := range 100 {
				if tt.part == "" {
					text.WriteString("mdb_sa_sk_" + strings.Repeat("a", i+1) + " ")
				}
				text.WriteString(tt.part)
			}
			var s sealer
			doc := sealing.New(&s, redact.NewSet(), nil, tt.most)
			out, err := doc.Value(map[string]any{"a": text.String()})
			if !errors.Is(err, tt.err) || s.calls != tt.calls {
				t.Fatalf("%d are sealed: %v, %v", s.calls, out, err)
			}
			if again, err := doc.Value("mdb_sa_sk_b"); tt.err == nil && !errors.Is(err, sealing.ErrTooLarge) {
				t.Errorf("one more: %v, %v", again, err)
			}
			doc.Found(nil)
			if again, err := doc.Value("mdb_sa_sk_b"); err != nil || again != form {
				t.Errorf("anew: %v, %v", again, err)
			}
		})
	}
}
