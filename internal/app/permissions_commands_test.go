package app_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"rekey/internal/app"
	"rekey/internal/audit"
	"rekey/internal/bus"
	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/ledger"
	"rekey/internal/policy"
	"rekey/internal/schedule"
)

// as connects with what the commands use, as a role that has inboxes of its own.
func (g guarded) as(t *testing.T, rig *rig, role, inbox string) *app.Client {
	t.Helper()
	own := rig.beside(role)
	own.cfg.NATS.NKeyFile, own.cfg.NATS.InboxPrefix = inFile(t, g.seeds[role]), inbox
	client, err := app.Dial(t.Context(), own.cfg, "", rig.lookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// guardedFleet is a worker with a policy and a schedule on a server with the permissions, and the dead letters of a job and
// of an event that were refused.
func guardedFleet(t *testing.T) (guarded, *rig) {
	t.Helper()
	g := startGuarded(t)
	rig, atlas := standInRig(t)
	atlas.script(hexID(1), problem(http.StatusNotFound, "RESOURCE_NOT_FOUND"))
	rig.cfg.NATS.URL, rig.cfg.NATS.NKeyFile = g.url, inFile(t, g.seeds["worker"])
	rig.cfg.Policies.List = []policy.Rule{disablePolicy()}
	rig.cfg.Notify = []config.Notify{rig.target("hook", newHook(t, nil))}
	yearly := everySecond("yearly", hexID(9))
	yearly.Cron = "0 3 1 1 *"
	rig.cfg.Schedules = []config.Schedule{yearly}
	w := rig.launch(t)
	w.awaitReady()
	producer, _ := g.dial(t, "producer")
	producer.publish("incident", projects(hexID(1)))
	producer.publish("incident", `{"kind":"x509.disable","params":{}}`)
	w.stranger, _ = g.dial(t, "admin")
	w.results(1)
	w.letters(2)
	return g, rig
}

// TestPermissionsOfTheCommands does what the commands do, as the roles that may.
func TestPermissionsOfTheCommands(t *testing.T) {
	t.Parallel()
	g, rig := guardedFleet(t)
	reading := map[string]func(context.Context, *app.Client) error{
		"job ls": func(ctx context.Context, c *app.Client) error {
			_, err := c.Ledger.List(ctx, ledger.Filter{})
			return err
		},
		"job show": func(ctx context.Context, c *app.Client) error {
			if _, err := c.RequestLetter(c.Guard(ctx), "unknown"); !errors.Is(err, jobs.ErrNotFound) {
				return fmt.Errorf("what is shown of a job that is not known: %w", err)
			}
			return nil
		},
		"job wait": waitForJobs,
		"plan":     func(ctx context.Context, c *app.Client) error { _, _, err := c.FleetJudge(ctx); return err },
		"pace":     func(ctx context.Context, c *app.Client) error { _, err := c.Buckets(ctx); return err },
		"audit":    readAudit,
		"notify ls": func(ctx context.Context, c *app.Client) error {
			targets, err := c.Targets(ctx)
			if err == nil && (len(targets) != 1 || !targets[0].Served) {
				return fmt.Errorf("the targets are %+v", targets)
			}
			return err
		},
		"schedule ls": func(ctx context.Context, c *app.Client) error {
			_, err := c.ScheduleStandings(ctx, []string{"yearly"})
			return err
		},
	}
	writing := map[string]func(context.Context, *app.Client) error{
		"policy backtest":     backtest,
		"job retry":           retryTheJob,
		"dlq replay and drop": replayAndDrop,
		"schedule pause": func(ctx context.Context, c *app.Client) error {
			_, err := c.PauseSchedule(ctx, "yearly", schedule.Operation{At: time.Now(), Action: schedule.ActionPause, By: "test"})
			return err
		},
	}
	check := func(client *app.Client, role string, commands map[string]func(context.Context, *app.Client) error) {
		for name, do := range commands {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			if err := do(ctx, client); err != nil {
				t.Errorf("%s of the %s: %v", name, role, err)
			}
			cancel()
		}
	}
	check(g.as(t, rig, "reader", "_INBOX_READER"), "reader", reading)
	operator := g.as(t, rig, "operator", "_INBOX_OPERATOR")
	check(operator, "operator", reading)
	check(operator, "operator", writing)
}

// waitForJobs does what job wait does, for a job that has ended and for one that is not known.
func waitForJobs(ctx context.Context, c *app.Client) error {
	ctx = c.Guard(ctx)
	page, err := c.Ledger.List(ctx, ledger.Filter{})
	if err != nil || len(page.Records) == 0 {
		return fmt.Errorf("there is no job: %w", err)
	}
	if record, err := c.Await(ctx, app.Wait{JobID: page.Records[0].JobID}); err != nil || !record.Done() {
		return fmt.Errorf("the job is %s: %w", record.State, err)
	}
	if _, err := c.Await(ctx, app.Wait{JobID: "unknown"}); !errors.Is(err, jobs.ErrNotFound) {
		return fmt.Errorf("what is waited for where no job is known: %w", err)
	}
	return nil
}

// readAudit does what audit verify does.
func readAudit(ctx context.Context, c *app.Client) error {
	chains, err := bus.FindChains(ctx, c.Conn, c.Names)
	if err != nil {
		return err
	}
	_, headsErr := chains.Heads(ctx)
	_, err = c.Conn.EachResult(ctx, c.Names, time.Time{}, func(audit.Result) error { return nil })
	return errors.Join(headsErr, err)
}

// backtest does what policy backtest does.
func backtest(ctx context.Context, c *app.Client) error {
	judge, _, err := c.FleetJudge(ctx)
	if err != nil {
		return err
	}
	events, err := c.Backtest(ctx, time.Time{}, judge, judge, func(app.Changed) {})
	if err == nil && events < 2 {
		return fmt.Errorf("%d events were judged, want those that there are", events)
	}
	return err
}

// retryTheJob puts the job back to work, or finds that it was from its dead letter.
func retryTheJob(ctx context.Context, c *app.Client) error {
	page, err := c.Ledger.List(ctx, ledger.Filter{})
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
func replayAndDrop(ctx context.Context, c *app.Client) error {
	letters, err := bus.OpenDeadLetters(ctx, c.Conn, c.Names)
	if err != nil {
		return err
	}
	for _, number := range []uint64{1, 2} {
		if _, err := c.Replay(ctx, number, jobs.Operation{At: time.Now(), Action: jobs.ActionReplay, By: "test", Reason: "mended"}); err != nil {
			return err
		}
	}
	for {
		list, err := letters.List(ctx, 10)
		if err != nil {
			return err
		}
		if len(list) > 0 { // The event was refused again.
			return c.Drop(ctx, list[0].Number, jobs.Operation{At: time.Now(), Action: jobs.ActionDrop, By: "test"})
		}
	}
}

// TestPermissionsOfAnOperator: it has the commands, and not what proves what was done, nor what the workers hold.
func TestPermissionsOfAnOperator(t *testing.T) {
	t.Parallel()
	g, _ := guardedFleet(t)
	operator, noOperator := g.dial(t, "operator", nats.CustomInboxPrefix("_INBOX_OPERATOR"))
	for _, subject := range []string{
		"rekey.v1.result.x.y", "rekey.v1.dlq.event", "$KV.REKEY_AUDIT.x", "$KV.REKEY_RULES.intake", "$KV.REKEY_TOKENS.x", "$KV.REKEY_LIMITS.x",
		"$JS.API.CONSUMER.MSG.NEXT.REKEY_JOBS.jobs-urgent", "$JS.API.CONSUMER.MSG.NEXT.REKEY_EVENTS.intake",
		"$JS.API.CONSUMER.MSG.NEXT.REKEY_EVENTS.intake-incident", "$JS.API.CONSUMER.MSG.NEXT.REKEY_EVENTS.intake-incident-below",
		"$JS.API.CONSUMER.CREATE.REKEY_EVENTS.intake-incident-below", "$JS.API.CONSUMER.DELETE.REKEY_EVENTS.intake",
		"$JS.API.CONSUMER.CREATE.REKEY_EVENTS.intake", "$JS.API.CONSUMER.PAUSE.REKEY_JOBS.jobs-urgent", "$JS.ACK.REKEY_JOBS.x",
		"$JS.API.DIRECT.GET.KV_REKEY_TOKENS.x", "$JS.API.STREAM.MSG.GET.KV_REKEY_TOKENS", "$JS.API.STREAM.UPDATE.REKEY_RESULTS",
		"$JS.API.STREAM.PURGE.REKEY_RESULTS", "$JS.API.STREAM.DELETE.REKEY_EVENTS", "$JS.API.STREAM.MSG.DELETE.REKEY_RESULTS",
	} {
		mustForbid(t, "an operator's publication on "+subject, operator, noOperator, func(nc *nats.Conn) error { return nc.Publish(subject, nil) })
	}
	for _, subject := range []string{"_INBOX.>", "rekey.v1.event.>", "rekey.v1.job.>", "$KV.>"} {
		mustForbid(t, "an operator's subscription to "+subject, operator, noOperator, func(nc *nats.Conn) error { _, err := nc.SubscribeSync(subject); return err })
	}
	worker, noWorker := g.dial(t, "worker")
	for _, stream := range []string{
		"REKEY_EVENTS", "REKEY_JOBS", "REKEY_RESULTS", "REKEY_DLQ", "KV_REKEY_LEDGER", "KV_REKEY_TARGETS", "KV_REKEY_SCHEDULES",
		"KV_REKEY_AUDIT", "KV_REKEY_RULES", "KV_REKEY_LIMITS", "KV_REKEY_PACE", "KV_REKEY_TOKENS", "KV_REKEY_NOTIFY",
	} {
		for _, verb := range []string{"PURGE", "DELETE", "UPDATE"} {
			subject := "$JS.API.STREAM." + verb + "." + stream
			mustForbid(t, "a worker's publication on "+subject, worker, noWorker, func(nc *nats.Conn) error { return nc.Publish(subject, nil) })
		}
	}
}
