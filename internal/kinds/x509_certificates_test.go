package kinds_test

import (
	"testing"

	"rekey/internal/kinds"
)

// TestReadCertificates: an end that the API does not say is no end that is far off.
func TestReadCertificates(t *testing.T) {
	for _, tt := range []struct {
		name, document string
		want           int
		wrong          bool
	}{
		{name: "two", document: `{"results":[{"_id":1,"notAfter":"2027-01-01T00:00:00Z"},{"_id":2,"notAfter":"2028-01-01T00:00:00Z"}],"totalCount":2}`, want: 2},
		{name: "none", document: `{"results":[],"totalCount":0}`},
		{name: "no list", document: `{}`, wrong: true},
		{name: "no end", document: `{"results":[{"_id":1}]}`, wrong: true},
		{name: "an end of another form", document: `{"results":[{"_id":1,"notAfter":"soon"}]}`, wrong: true},
		{name: "no JSON", document: `<html>`, wrong: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := kinds.ReadCertificates([]byte(tt.document))
			if (err != nil) != tt.wrong || len(got) != tt.want {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
	r, _ := kinds.ManagedCertificates("5ec0000000000000000000f1", "CN=a/b")
	if want := "/api/atlas/v2/groups/5ec0000000000000000000f1/databaseUsers/CN=a%2Fb/certs"; r.Path != want {
		t.Errorf("the path is %s, want %s", r.Path, want)
	}
}
