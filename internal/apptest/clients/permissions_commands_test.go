package clients_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/apptest"
	"rekey/internal/audit"
	"rekey/internal/config"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/policy"
	"rekey/internal/schedule"
)

// guardedFleet is a worker with a policy and a schedule on a server with the permissions, and the dead letters of a job and
// of an event that were refused.
func guardedFleet(t *testing.T) (apptest.Guarded, *apptest.Rig) {
	t.Helper()
	g := apptest.StartGuarded(t)
	rig, atlas := apptest.StandInRig(t)
	atlas.Script(apptest.HexID(1), apptest.Problem(http.StatusNotFound, "RESOURCE_NOT_FOUND"))
	rig.Cfg.NATS.URL, rig.Cfg.NATS.NKeyFile = g.URL, apptest.InFile(t, g.Seeds["worker"])
	rig.Cfg.Policies.List = []policy.Rule{apptest.DisablePolicy()}
	rig.Cfg.Receivers = []config.Receiver{rig.Receiver("hook", apptest.NewHook(t, nil))}
	yearly := apptest.EverySecond("yearly", apptest.HexID(9))
	yearly.Cron = "0 3 1 1 *"
	rig.Cfg.Schedules = []config.Schedule{yearly}
	w := rig.Launch(t)
	w.AwaitReady()
	producer, _ := g.Dial(t, "producer")
	producer.Publish("incident", apptest.Projects(apptest.HexID(1)))
	producer.Publish("incident", `{"kind":"x509.disable","params":{}}`)
	w.Stranger, _ = g.Dial(t, "admin")
	w.Results(1)
	w.Letters(2)
	return g, rig
}

// command is what a command does, or a page of the console.
type command = func(context.Context, *fleet.Client) error

// reading are the commands that change nothing.
func reading() map[string]command {
	return map[string]command{
		"job ls": func(ctx context.Context, c *fleet.Client) error {
			_, err := c.Jobs(ctx, fleet.Query{})
			return err
		},
		"job show": func(ctx context.Context, c *fleet.Client) error {
			if _, err := c.RequestLetter(c.Guard(ctx), "unknown"); !errors.Is(err, jobs.ErrNotFound) {
				return fmt.Errorf("what is shown of a job that is not known: %w", err)
			}
			return nil
		},
		"job wait": waitForJobs,
		"plan":     func(ctx context.Context, c *fleet.Client) error { _, _, err := c.FleetEvaluator(ctx); return err },
		"pace":     func(ctx context.Context, c *fleet.Client) error { _, err := c.Buckets(ctx); return err },
		"notify ls": func(ctx context.Context, c *fleet.Client) error {
			targets, err := c.Receivers(ctx)
			if err == nil && (len(targets) != 1 || !targets[0].Served) {
				return fmt.Errorf("the targets are %+v", targets)
			}
			return err
		},
		"schedule ls": func(ctx context.Context, c *fleet.Client) error {
			_, err := c.ScheduleStates(ctx, []string{"yearly"})
			return err
		},
	}
}

// writing are the commands that change something.
func writing() map[string]command {
	return map[string]command{
		"policy backtest":     backtest,
		"job retry":           retryTheJob,
		"dlq replay and drop": replayAndDrop,
		"schedule pause": func(ctx context.Context, c *fleet.Client) error {
			_, err := c.PauseSchedule(ctx, "yearly", schedule.Operation{At: time.Now(), Action: schedule.ActionPause, By: "test"})
			return err
		},
	}
}

// checkRole does what a role may do.
func checkRole(t *testing.T, client *fleet.Client, role string, commands map[string]command) {
	t.Helper()
	for name, do := range commands {
		ctx, cancel := context.WithTimeout(t.Context(), apptest.Patience)
		if err := do(ctx, client); err != nil {
			t.Errorf("%s of the %s: %v", name, role, err)
		}
		cancel()
	}
}

// TestPermissionsOfTheCommands does what the commands do, as the roles that may.
func TestPermissionsOfTheCommands(t *testing.T) {
	t.Parallel()
	g, rig := guardedFleet(t)
	audited := map[string]command{"audit": readAudit}
	reader, operator := g.As(t, rig, "reader", "_INBOX_READER"), g.As(t, rig, "operator", "_INBOX_OPERATOR")
	checkRole(t, reader, "reader", reading())
	checkRole(t, reader, "reader", audited)
	checkRole(t, operator, "operator", reading())
	checkRole(t, operator, "operator", audited)
	checkRole(t, operator, "operator", writing())
}

// TestPermissionsOfTheConsole does with the key of a worker what its console and its HTTP API do.
func TestPermissionsOfTheConsole(t *testing.T) {
	t.Parallel()
	g, rig := guardedFleet(t)
	worker := g.As(t, rig, "worker", "")
	checkRole(t, worker, "worker", reading())
	checkRole(t, worker, "worker", writing())
}

// waitForJobs does what job wait does, for a job that has ended and for one that is not known.
func waitForJobs(ctx context.Context, c *fleet.Client) error {
	ctx = c.Guard(ctx)
	page, err := c.Jobs(ctx, fleet.Query{})
	if err != nil || len(page.Records) == 0 {
		return fmt.Errorf("there is no job: %w", err)
	}
	if record, err := c.Await(ctx, fleet.Wait{JobID: page.Records[0].JobID}); err != nil || !record.Done() {
		return fmt.Errorf("the job is %s: %w", record.State, err)
	}
	if _, err := c.Await(ctx, fleet.Wait{JobID: "unknown"}); !errors.Is(err, jobs.ErrNotFound) {
		return fmt.Errorf("what is waited for where no job is known: %w", err)
	}
	return nil
}

// readAudit does what audit verify does.
func readAudit(ctx context.Context, c *fleet.Client) error {
	_, headsErr := c.ChainEnds(ctx)
	_, err := c.EachResult(ctx, time.Time{}, func(audit.Result) error { return nil })
	return errors.Join(headsErr, err)
}

// backtest does what policy backtest does.
func backtest(ctx context.Context, c *fleet.Client) error {
	evaluator, _, err := c.FleetEvaluator(ctx)
	if err != nil {
		return err
	}
	events, err := c.Backtest(ctx, time.Time{}, evaluator, evaluator, func(fleet.Changed) {})
	if err == nil && events < 2 {
		return fmt.Errorf("%d events were evaluated, want those that there are", events)
	}
	return err
}

// retryTheJob retries the job, or finds that it was from its dead letter.
func retryTheJob(ctx context.Context, c *fleet.Client) error {
	page, err := c.Jobs(ctx, fleet.Query{})
	if err != nil || len(page.Records) == 0 {
		return fmt.Errorf("there is no job: %w", err)
	}
	_, err = c.Retry(ctx, page.Records[0].JobID, jobs.Operation{At: time.Now(), Action: jobs.ActionRetry, By: "test"})
	if errors.Is(err, jobs.ErrSucceeded) || errors.Is(err, jobs.ErrRunning) {
		return nil
	}
	return err
}

// replayAndDrop replays the dead letters and drops what comes of it.
func replayAndDrop(ctx context.Context, c *fleet.Client) error {
	for _, number := range []uint64{1, 2} {
		if _, err := c.Replay(ctx, number, jobs.Operation{At: time.Now(), Action: jobs.ActionReplay, By: "test", Reason: "mended"}); err != nil {
			return err
		}
	}
	for {
		list, err := c.StoredDeadLetters(ctx, 10)
		if err != nil {
			return err
		}
		if len(list) > 0 { // The event was refused again.
			return c.Drop(ctx, list[0].Number, jobs.Operation{At: time.Now(), Action: jobs.ActionDrop, By: "test"})
		}
	}
}

// consumerOperations are all ways in which a consumer is made, altered, read and removed: its name is in the subject, in
// a subject that is out of date, or in the body alone.
func consumerOperations(stream, name, filter string) []string {
	var list []string
	list = append(list, "$JS.API.CONSUMER.CREATE."+stream, "$JS.API.CONSUMER.CREATE."+stream+"."+name+"."+filter)
	for _, operation := range []string{"CREATE", "DURABLE.CREATE", "DELETE", "PAUSE", "MSG.NEXT", "RESET", "UNPIN", "LEADER.STEPDOWN"} {
		list = append(list, "$JS.API.CONSUMER."+operation+"."+stream+"."+name)
	}
	return list
}

// closed is what neither an operator nor a reader may ask for.
func closed() []string {
	list := []string{
		"rekey.v1.result.token-revoke.revoked", "rekey.v1.dlq.event", "rekey.v1.worker.w1", "$KV.REKEY_AUDIT.x", "$KV.REKEY_RULES.intake",
		"$KV.REKEY_TOKENS.x", "$KV.REKEY_LIMITS.x", "$KV.REKEY_PACE.x", "$KV.REKEY_NOTIFY.x",
		"$JS.API.DIRECT.GET.KV_REKEY_TOKENS", "$JS.API.DIRECT.GET.KV_REKEY_TOKENS.$KV.REKEY_TOKENS.x", "$JS.API.STREAM.MSG.GET.KV_REKEY_TOKENS",
		"$JS.API.STREAM.INFO.KV_REKEY_TOKENS", "$JS.API.STREAM.MSG.GET.REKEY_RESULTS", "$JS.API.STREAM.MSG.DELETE.REKEY_RESULTS",
		"$JS.API.DIRECT.GET.REKEY_JOBS", "$JS.API.STREAM.CREATE.SPY", "$JS.API.STREAM.TEMPLATE.CREATE.SPY",
		"$JS.ACK.REKEY_JOBS.jobs-urgent.1.1.1.1.1", "$JS.ACK.REKEY_EVENTS.intake.1.1.1.1.1", "$JS.ACK.REKEY_RESULTS.notify-hook.1.1.1.1.1",
		"$JS.FC.REKEY_RESULTS.x.y", "$SYS.REQ.USER.INFO",
	}
	for _, stream := range []string{"REKEY_EVENTS", "REKEY_JOBS", "REKEY_RESULTS", "REKEY_DLQ", "KV_REKEY_LEDGER", "KV_REKEY_TOKENS"} {
		for _, operation := range []string{"UPDATE", "PURGE", "DELETE", "SNAPSHOT", "RESTORE", "LEADER.STEPDOWN", "PEER.REMOVE"} {
			list = append(list, "$JS.API.STREAM."+operation+"."+stream)
		}
	}
	list = append(list, consumerOperations("REKEY_EVENTS", "intake", "rekey.v1.event.other")...)
	list = append(list, consumerOperations("REKEY_EVENTS", "intake-incident", "rekey.v1.event.other")...)
	list = append(list, consumerOperations("REKEY_EVENTS", "intake-incident-below", "rekey.v1.event.other")...)
	list = append(list, consumerOperations("REKEY_JOBS", "jobs-urgent", "rekey.v1.job.other")...)
	list = append(list, consumerOperations("REKEY_RESULTS", "notify-hook", "rekey.v1.result.>")...)
	list = append(list, consumerOperations("REKEY_RESULTS", "spy", "rekey.v1.result.>")...)
	list = append(list, consumerOperations("REKEY_DLQ", "spy", "rekey.v1.dlq.>")...)
	return append(list, consumerOperations("KV_REKEY_TOKENS", "spy", "$KV.REKEY_TOKENS.>")...)
}

// TestPermissionsOfTheOthers: operators and readers have the commands, and not what proves what was done, nor what the
// workers hold, by whatever name they ask for it.
func TestPermissionsOfTheOthers(t *testing.T) {
	t.Parallel()
	g, _ := guardedFleet(t)
	for role, further := range map[string][]string{
		"operator": nil,
		"reader": {
			"rekey.v1.event.incident", "rekey.v1.event.operator", "rekey.v1.job.urgent.x509-disable", "$KV.REKEY_LEDGER.x", "$KV.REKEY_TARGETS.x",
			"$KV.REKEY_SCHEDULES.x", "$JS.API.DIRECT.GET.REKEY_EVENTS", "$JS.API.DIRECT.GET.REKEY_DLQ", "$JS.API.STREAM.MSG.DELETE.REKEY_DLQ",
		},
	} {
		s, forbidden := g.Dial(t, role, nats.CustomInboxPrefix("_INBOX_"+strings.ToUpper(role)))
		for _, subject := range append(closed(), further...) {
			mustForbid(t, "a publication of the "+role+" on "+subject, s, forbidden, func(nc *nats.Conn) error { return nc.Publish(subject, []byte("{}")) })
		}
		for _, subject := range []string{"_INBOX.>", "rekey.v1.event.>", "rekey.v1.job.>", "rekey.v1.dlq.>", "$KV.>", "$JS.>", ">"} {
			mustForbid(t, "a subscription of the "+role+" to "+subject, s, forbidden, func(nc *nats.Conn) error { _, err := nc.SubscribeSync(subject); return err })
		}
	}
}

// TestAnswersGoNowhereElse: who asks may name any subject for the answer; what comes there is not stored.
func TestAnswersGoNowhereElse(t *testing.T) {
	t.Parallel()
	g, _ := guardedFleet(t)
	admin, _ := g.Dial(t, "admin")
	count := func() (all string) {
		for _, stream := range []string{"REKEY_RESULTS", "REKEY_JOBS", "REKEY_DLQ", "KV_REKEY_RULES", "KV_REKEY_TOKENS"} {
			st, err := admin.Js.Stream(t.Context(), stream)
			if err != nil {
				t.Fatal(err)
			}
			all += fmt.Sprint(stream, " ", st.CachedInfo().State.LastSeq, " ")
		}
		return all
	}
	before := count()
	for _, role := range []string{"operator", "reader", "producer"} {
		s, _ := g.Dial(t, role, nats.CustomInboxPrefix("_INBOX_"+strings.ToUpper(role)))
		for _, target := range []string{"rekey.v1.result.token-revoke.revoked", "rekey.v1.job.urgent.x509-disable", "rekey.v1.dlq.event", "$KV.REKEY_AUDIT.x", "$KV.REKEY_RULES.intake", "$KV.REKEY_TOKENS.x"} {
			for question, body := range map[string]string{
				"$JS.API.INFO": "", "$JS.API.STREAM.INFO.REKEY_RESULTS": "", "$JS.API.DIRECT.GET.REKEY_RESULTS": `{"next_by_subj":">","batch":10}`,
				"$JS.API.DIRECT.GET.KV_REKEY_LEDGER": `{"next_by_subj":">","batch":10}`, "$JS.API.DIRECT.GET.REKEY_DLQ": `{"seq":1}`,
				"$JS.API.CONSUMER.INFO.REKEY_JOBS.jobs-urgent": "", "rekey.v1.event.incident": "nonsense",
			} {
				if role == "operator" && question == "rekey.v1.event.incident" && target != "rekey.v1.result.token-revoke.revoked" {
					continue // Each is a dead letter of its own.
				}
				if role == "producer" && question == "rekey.v1.event.incident" {
					continue
				}
				if err := s.Nc.PublishRequest(question, target, []byte(body)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := s.Nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	// The operator's event is a dead letter when all that was asked before it is answered.
	want := strings.Replace(before, "REKEY_DLQ 2 ", "REKEY_DLQ 3 ", 1)
	apptest.Eventually(t, "the dead letter of the event", func() bool { return strings.Contains(count(), "REKEY_DLQ 3 ") })
	if after := count(); after != want {
		t.Errorf("the streams were at\n%s and are at\n%s", want, after)
	}
	// A worker writes the heads of its chains here, when it comes to it.
	audit, err := admin.Js.Stream(t.Context(), "KV_REKEY_AUDIT")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := audit.GetLastMsgForSubject(t.Context(), "$KV.REKEY_AUDIT.x"); !errors.Is(err, jetstream.ErrMsgNotFound) {
		t.Errorf("an answer is stored in the audit trail: %v", err)
	}
}

// TestPermissionsOfAWorker: it cannot delete what it has written.
func TestPermissionsOfAWorker(t *testing.T) {
	t.Parallel()
	g, _ := guardedFleet(t)
	worker, noWorker := g.Dial(t, "worker")
	for _, stream := range []string{
		"REKEY_EVENTS", "REKEY_JOBS", "REKEY_RESULTS", "REKEY_DLQ", "KV_REKEY_LEDGER", "KV_REKEY_TARGETS", "KV_REKEY_SCHEDULES",
		"KV_REKEY_AUDIT", "KV_REKEY_RULES", "KV_REKEY_LIMITS", "KV_REKEY_PACE", "KV_REKEY_TOKENS", "KV_REKEY_NOTIFY",
	} {
		for _, verb := range []string{"PURGE", "DELETE", "UPDATE", "SNAPSHOT", "RESTORE"} {
			subject := "$JS.API.STREAM." + verb + "." + stream
			mustForbid(t, "a worker's publication on "+subject, worker, noWorker, func(nc *nats.Conn) error { return nc.Publish(subject, nil) })
		}
	}
	for _, subject := range []string{"$JS.API.STREAM.CREATE.OTHER", "$JS.API.CONSUMER.CREATE.KV_REKEY_TOKENS.x", "$JS.API.STREAM.MSG.DELETE.REKEY_RESULTS", "other.subject"} {
		mustForbid(t, "a worker's publication on "+subject, worker, noWorker, func(nc *nats.Conn) error { return nc.Publish(subject, nil) })
	}
}
