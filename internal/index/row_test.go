package index

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestIndexHoldsNoMoreThanItNeeds(t *testing.T) {
	t.Parallel()
	r, err := NewRow(7, []byte(`{"job_id":"a","params":{"token":"sha256:canary"},"detail":"canary","events":[{"id":"e"}],"reason":"canary"}`))
	if err != nil {
		t.Fatal(err)
	}
	data, err := EncodeRows([]Row{r})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), "canary") {
		t.Error("the index holds what no filter asks for")
	}
	if _, err := decodeRows(data[:len(data)-1]); err == nil {
		t.Error("half a part was read")
	}
	if _, err := NewRow(7, []byte("{")); err == nil || !strings.Contains(err.Error(), "revision 7") {
		t.Errorf("a record that is no JSON: %v", err)
	}
}

func TestBloom(t *testing.T) {
	t.Parallel()
	set := map[uint64]struct{}{}
	for i := range 5000 {
		set[hash(fmt.Sprint("in", i))] = struct{}{}
	}
	b := newBloom(set)
	for h := range set {
		if !b.mayHold(h) {
			t.Fatal("the set lost something")
		}
	}
	wrong := 0
	for i := range 5000 {
		if b.mayHold(hash(fmt.Sprint("out", i))) {
			wrong++
		}
	}
	if wrong > 250 {
		t.Errorf("%d of 5000 are taken for members", wrong)
	}
	if !bloom(nil).mayHold(1) {
		t.Error("an empty filter says no")
	}
}

func TestNanosSortLikeTime(t *testing.T) {
	t.Parallel()
	last := Nanos(time.Time{})
	for _, at := range []string{"1000-01-01", "1700-01-01", "1970-01-01", "1970-01-02", "2026-11-26", "2261-01-01", "2262-06-01", "9999-01-01"} {
		when, err := time.Parse(time.DateOnly, at)
		if err != nil {
			t.Fatal(err)
		}
		if n := Nanos(when); n < last {
			t.Errorf("%s comes before the moment before it", at)
		} else {
			last = n
		}
	}
}

// Whatever part of a target is asked for, the target has its marks: else it would be missed.
func TestMarksOfAPartAreMarksOfTheWhole(t *testing.T) {
	t.Parallel()
	const id = "0123456789abcdef01234567"
	for _, target := range []string{
		"project/" + id, "federation/" + id + "/idp/" + id, "file:/run/" + id + "89ab/token", "sha256:0123456789ab",
		"file:/sha256:0123456789abcdef/x", "sha256:sha256:0123456789abcd",
	} {
		whole := marks(target)
		for from := range target {
			for to := from; to <= len(target); to++ {
				for _, mark := range marks(target[from:to]) {
					if !slices.Contains(whole, mark) {
						t.Errorf("%s has not the marks of its part %s", target, target[from:to])
					}
				}
			}
		}
	}
	if len(marks("project/"+id)) == 0 || len(marks("sha256:0123456789ab")) == 0 {
		t.Error("an id and a fingerprint have no marks")
	}
}
