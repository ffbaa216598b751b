package kinds

import "testing"

func TestFitsMask(t *testing.T) {
	const secret = "mdb_sa_sk_AbCd0123456789_-wxYZ"
	tests := []struct {
		name, mask string
		want       bool
	}{
		{"prefix and tail", "mdb_sa_sk_********wxYZ", true},
		{"tail after dots", "mdb_sa_sk_...wxYZ", true},
		{"tail after an ellipsis", "…wxYZ", true},
		{"tail alone", "wxYZ", true},
		{"more of the beginning", "mdb_sa_sk_Ab****YZ", true},
		{"beginning alone", "mdb_sa_sk_AbCd****", true},
		{"all of it", secret, true},
		{"several parts", "mdb_sa_sk_Ab**45**wxYZ", true},
		{"another tail", "mdb_sa_sk_********wxYy", false},
		{"another case", "mdb_sa_sk_********wxyz", false},
		{"another beginning", "mdb_sa_sk_Xb****wxYZ", false},
		{"too little is shown", "mdb_sa_sk_********xYZ", false},
		{"nothing is shown", "mdb_sa_sk_********", false},
		{"the prefix in part", "mdb_****", false},
		{"only stars", "********", false},
		{"empty", "", false},
		{"longer than the secret", "mdb_sa_sk_AbCd0123456789****0123456789_-wxYZ", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := fitsMask(tt.mask, secret); got != tt.want {
				t.Errorf("fitsMask(%q) = %t", tt.mask, got)
			}
		})
	}
}
