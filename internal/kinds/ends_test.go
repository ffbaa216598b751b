package kinds

import (
	"testing"
	"time"
)

// TestMayBe: only a mask that shows something else says that a secret is another one.
func TestMayBe(t *testing.T) {
	t.Parallel()
	const value = "mdb_sa_sk_0123456789abcd"
	for mask, want := range map[string]bool{
		"": true, value: true, "mdb_sa_sk_****abcd": true, "mdb_sa_sk_…abcd": true, "mdb_sa_sk_...abcd": true, "********": true, "****abcd": true, "abcd": true,
		"mdb_sa_sk_****abce": false, "mdb_sa_sk_1*****": false, "bcde": false, "mdb_sa_sk_other": false, "****dcba": false,
	} {
		if got := (HeldSecret{Masked: mask}).MayBe(value); got != want {
			t.Errorf("%q may be the secret: %t, want %t", mask, got, want)
		}
	}
}

// TestLast: expired secrets stay listed, and do not count.
func TestLast(t *testing.T) {
	t.Parallel()
	now := time.Now()
	h := Holder{Secrets: []HeldSecret{{ID: "old", ExpiresAt: now.Add(-time.Hour)}, {ID: "new", ExpiresAt: now.Add(time.Hour)}}}
	if !h.Last("new", now) || h.Last("old", now) || h.Last("unknown", now) {
		t.Error("of two secrets of which one has expired, only the other one is the last")
	}
	h.Secrets = append(h.Secrets, HeldSecret{ID: "endless"})
	if h.Last("new", now) || h.Last("endless", now) {
		t.Error("none of two that work is the last one")
	}
}
