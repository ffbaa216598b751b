package app

import (
	"testing"
	"testing/synctest"
	"time"

	"rekey/internal/bus"
	"rekey/internal/names"
)

// TestForbidden: what NATS refuses of what a worker needs is said, without ids, until it has been quiet for a while.
func TestForbidden(t *testing.T) {
	t.Parallel()
	const says = "NATS refuses what this worker needs, and worker doctor lists it all: "
	for _, tt := range []struct {
		subject string
		want    string // Empty: the worker works without.
	}{
		{"$KV.REKEY_TARGETS.target.b0b31f252b45be8a0f6390b0338ebcb3", "$KV.REKEY_TARGETS.>"},
		{"$JS.API.DIRECT.GET.KV_REKEY_LEDGER.$KV.REKEY_LEDGER.tdzg1wknmatvdtrazaqzt112w0", "$JS.API.DIRECT.GET.KV_REKEY_LEDGER.>"},
		{"$JS.hub.API.$KV.REKEY_LEDGER.x", "$JS.hub.API.$KV.REKEY_LEDGER.>"},
		{"$JS.ACK.REKEY_JOBS.jobs-urgent.1.2.3.4.5", "$JS.ACK.REKEY_JOBS.>"},
		{"$JS.API.CONSUMER.MSG.NEXT.REKEY_JOBS.jobs-urgent", "$JS.API.CONSUMER.MSG.NEXT.REKEY_JOBS.jobs-urgent"},
		{"rekey.v1.result.x509-disable.revoked", "rekey.v1.result.x509-disable.revoked"},
		{"rekey.v1.event.operator", "rekey.v1.event.operator"},
		{"rekey.v1.event.siem", ""},
		{"$KV.REKEY_TOKENS.mdb_sa_id_1", ""},
		{"$JS.API.DIRECT.GET.KV_REKEY_RULES.$KV.REKEY_RULES.intake", ""},
		{"$JS.API.CONSUMER.CREATE.KV_REKEY_PACE.a.$KV.REKEY_PACE.>", ""},
		{"$SRV.STATS.rekey-query", ""},
		{"$JS.API.CONSUMER.INFO.REKEY_RESULTS.notify-siem", ""},
		{"$JS.API.INFO", ""},
	} {
		f := forbidden{names: names.New("rekey")}
		f.hear(&bus.ForbiddenError{Subject: tt.subject})
		err := f.check()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || err.Error() != says+tt.want+" may not be published to") {
			t.Errorf("%s: %v", tt.subject, err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		f := forbidden{names: names.New("rekey")}
		for range 2 {
			for n := range 2 * maxForbidden {
				f.hear(&bus.ForbiddenError{Subject: "_INBOX." + string(rune('a'+n)), Subscribe: true})
			}
		}
		if len(f.at) != maxForbidden {
			t.Errorf("%d are remembered", len(f.at))
		}
		<-time.After(forbiddenFor - time.Nanosecond)
		if f.check() == nil {
			t.Error("nothing is said any more")
		}
		<-time.After(time.Nanosecond)
		if err := f.check(); err != nil {
			t.Error(err)
		}
	})
}
