package quiet_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"rekey/internal/quiet"
)

func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f quiet.Failures
		refused, lost := errors.New("login refused"), errors.New("connection lost")
		check := func(what, key string, err error, wantNews bool, wantRepeated int) {
			t.Helper()
			field, news := f.News(key, err)
			want := zap.Skip()
			if wantRepeated > 0 {
				want = zap.Int("repeated", wantRepeated)
			}
			if news != wantNews || !field.Equals(want) {
				t.Errorf("%s: news %v, field %v", what, news, field)
			}
		}
		check("the first", "nats", refused, true, 0)
		for range 299 {
			<-time.After(200 * time.Millisecond)
			check("the same", "nats", refused, false, 0)
		}
		check("another thing", "vault", refused, true, 0)
		<-time.After(time.Second)
		check("a minute later", "nats", refused, true, 299)
		check("a change", "nats", lost, true, 0)
		check("the next of it", "nats", lost, false, 0)
		check("the other one in turn", "nats", refused, false, 0)
		if !f.Over("nats") || f.Over("nats") {
			t.Error("whether it was over is wrong")
		}
		check("anew", "nats", lost, true, 0)
		check("with a number", "port", errors.New("dial 127.0.0.1:4223: refused"), true, 0)
		check("with another one", "port", errors.New("dial 127.0.0.1:50001: refused"), false, 0)
		for i := range 5000 {
			f.News(fmt.Sprint(i), refused)
		}
		check("one of very many", "4999", refused, true, 0)
		check("one of the first", "1", refused, false, 0)
	})
}
