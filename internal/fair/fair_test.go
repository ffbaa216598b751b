package fair_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/fair"
)

// take takes n items, without an end of the work on them.
func take(t *testing.T, q *fair.Queue[string], n int) (got []string, done []func()) {
	t.Helper()
	for range n {
		value, end, ok := q.Take()
		if !ok {
			t.Fatalf("the queue has ended after %v", got)
		}
		got, done = append(got, value), append(done, end)
	}
	return got, done
}

// TestTurns: a source that has brought much waits behind each other one, and keeps its own order.
func TestTurns(t *testing.T) {
	q := fair.New[string](fair.Config{Items: 100, Bytes: 1 << 20, AtOnce: 10})
	for i := range 4 {
		q.Put("door/siem", fmt.Sprint("siem ", i), 1)
	}
	q.Put("", "urgent 0", 1)
	q.Put("door/github", "github 0", 1)
	q.Put("", "urgent 1", 1)
	q.Close()
	got, _ := take(t, q, 7)
	if diff := cmp.Diff([]string{"siem 0", "urgent 0", "github 0", "siem 1", "urgent 1", "siem 2", "siem 3"}, got); diff != "" {
		t.Error(diff)
	}
	if _, _, ok := q.Take(); ok {
		t.Error("an empty queue that is closed has an item")
	}
}

// TestAtOnce: while a source has as many in work as it may, the others go on.
func TestAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := fair.New[string](fair.Config{Items: 100, Bytes: 1 << 20, AtOnce: 2})
		for i := range 3 {
			q.Put("door", fmt.Sprint("door ", i), 1)
		}
		got, done := take(t, q, 2)
		q.Put("", "urgent", 1)
		more, _ := take(t, q, 1)
		third := make(chan string, 1)
		go func() { value, _, _ := q.Take(); third <- value }()
		synctest.Wait()
		if len(third) > 0 {
			t.Errorf("a third item of the source is handed out: %s", <-third)
		}
		done[0]()
		if diff := cmp.Diff([]string{"door 0", "door 1", "urgent", "door 2"}, append(append(got, more...), <-third)); diff != "" {
			t.Error(diff)
		}
	})
}

// TestRoom: what the queue has no free space for waits outside, by number and by size, and one item of any size is let in.
func TestRoom(t *testing.T) {
	for name, size := range map[string]int{"items": 1, "bytes": 40} {
		synctest.Test(t, func(t *testing.T) {
			q := fair.New[string](fair.Config{Items: 3, Bytes: 100, AtOnce: 10})
			in := make(chan int, 10)
			var putting sync.WaitGroup
			putting.Go(func() {
				for i := range 5 {
					q.Put("a", fmt.Sprint(i), size)
					in <- i
				}
				q.Close()
			})
			synctest.Wait()
			if want := min(3, 100/size); len(in) != want {
				t.Errorf("%s: %d have room, want %d", name, len(in), want)
			}
			take(t, q, 5)
			putting.Wait()
			q = fair.New[string](fair.Config{Items: 3, Bytes: 100, AtOnce: 10})
			q.Put("a", "large", 1000)
			if got, _ := take(t, q, 1); got[0] != "large" {
				t.Error(got)
			}
		})
	}
}
