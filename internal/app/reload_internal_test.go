package app

import (
	"crypto/sha256"
	"testing"
)

// TestSettle is about a file that is written when a reload is asked for: it is not taken over before it is the same twice.
func TestSettle(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		files   []string // As they are found, one look after the other; the last one stays.
		looks   int
		settled bool
	}{
		"as it was seen before": {[]string{"seen"}, 1, true},
		"another one":           {[]string{"new"}, 2, true},
		"half of it, then all":  {[]string{"ne", "new"}, 3, true},
		"written without end":   {[]string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t", "u"}, settleLooks, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			looks := 0
			look := func() [sha256.Size]byte {
				looks++
				return sha256.Sum256([]byte(tt.files[min(looks, len(tt.files))-1]))
			}
			last, settled := settle(t.Context(), sha256.Sum256([]byte("seen")), look, 0)
			if settled != tt.settled || looks != tt.looks || last != sha256.Sum256([]byte(tt.files[min(looks, len(tt.files))-1])) {
				t.Errorf("settled is %t after %d looks; want %t after %d", settled, looks, tt.settled, tt.looks)
			}
		})
	}
}
