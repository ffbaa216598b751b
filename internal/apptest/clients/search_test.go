package clients_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go"

	"rekey/internal/apptest"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/search"
)

// answered waits until a worker answers a client.
func answered(t *testing.T, c *fleet.Client) {
	t.Helper()
	apptest.Eventually(t, "a worker that answers searches", func() bool {
		found, err := c.Workers(t.Context())
		return err == nil && len(found.Workers) > 0
	})
}

// TestPermissionsOfSearches: readers, operators, and other workers for their pages, are answered by a worker; producers may not ask.
func TestPermissionsOfSearches(t *testing.T) {
	t.Parallel()
	g, rig := guardedFleet(t)
	for role, inbox := range map[string]string{"reader": "_INBOX_READER", "operator": "_INBOX_OPERATOR", "worker": ""} {
		client := g.As(t, rig, role, inbox)
		answered(t, client)
		client.OnReading = func(err error) { t.Errorf("the %s is not answered by a worker: %v", role, err) }
		// The job's letter comes last, and the search is a moment behind.
		apptest.Eventually(t, "both dead letters in what the "+role+" finds", func() bool {
			letters, err := client.DeadLetters(t.Context(), fleet.LetterQuery{Limit: 10})
			return err == nil && len(letters.Letters) == 2 && letters.Lag == 0
		})
		page, err := client.Jobs(t.Context(), fleet.Query{Q: apptest.HexID(1), Count: true})
		if err != nil || page.Total != 1 || page.Worker == "" || page.Lag != 0 {
			t.Errorf("the %s finds %+v, %v", role, page, err)
		}
		if summary, err := client.Summary(t.Context(), search.SummaryQuery{}); err != nil || len(summary.Groups) != 1 || len(summary.Rules) == 0 {
			t.Errorf("the %s counts %+v, %v", role, summary, err)
		}
		story, err := client.Story(t.Context(), page.Records[0].JobID)
		if err != nil || len(story.Announced) != 1 || story.Announced[0].Outcome != string(jobs.OutcomeRefused) {
			t.Errorf("the %s learns %+v, %v", role, story, err)
		}
		if _, err := client.Jobs(t.Context(), fleet.Query{Limit: 1, Lane: "slow"}); err == nil {
			t.Errorf("the %s is answered a wrong question", role)
		} else if invalid, ok := errors.AsType[*search.Invalid](err); !ok || invalid.Field != "lane" {
			t.Errorf("the %s learns %v", role, err)
		}
	}
	producer, forbidden := g.Dial(t, "producer")
	for _, what := range []string{search.AskJobs, search.AskSummary} {
		mustForbid(t, "a producer's search", producer, forbidden, func(nc *nats.Conn) error { return nc.Publish("rekey.v1.query."+what, nil) })
	}
	reader, forbidden := g.Dial(t, "reader", nats.CustomInboxPrefix("_INBOX_READER"))
	mustForbid(t, "a reader that answers searches", reader, forbidden, func(nc *nats.Conn) error { _, err := nc.SubscribeSync("rekey.v1.query.jobs"); return err })
}

// TestSearchWithoutAWorker reads the streams, says so once, and finds the same.
func TestSearchWithoutAWorker(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	rig.Cfg.Search.Off = true
	w := rig.Start(t)
	for i := range 3 {
		w.Publish("incident", apptest.X509Disable(apptest.HexID(i)).String())
	}
	w.Results(3)
	client := w.Operator()
	defer client.Close()
	said := 0
	client.OnReading = func(err error) {
		if said++; !errors.Is(err, search.ErrNoWorker) {
			t.Errorf("it is said for another reason: %v", err)
		}
	}
	var ids []string
	for q := (fleet.Query{Limit: 1}); ; {
		page, err := client.Jobs(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, page.Records[0].JobID)
		if q.After = page.Next; !page.More {
			break
		}
	}
	if len(ids) != 3 || said != 1 {
		t.Errorf("the jobs are %q, and it was said %d times", ids, said)
	}
}

// TestSearchOfAWorker: the file is in the store, for its owner only, and is used again after a restart; no failure of it is one of
// the worker.
func TestSearchOfAWorker(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	w := rig.Start(t)
	w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).String())
	w.Results(1)
	client := w.Operator()
	answered(t, client)
	page, err := client.Jobs(t.Context(), fleet.Query{Target: apptest.HexID(1), Limit: 5})
	if err != nil || len(page.Records) != 1 || page.Worker == "" {
		t.Errorf("a worker finds %+v, %v", page, err)
	}
	client.Close()
	file := filepath.Join(rig.Cfg.NATS.Embedded.StoreDir, "search-rekey-0.db")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the file is %v, %v", info, err)
	}
	w.Stop()
	if err := os.WriteFile(file, []byte("this is no database, and it is long enough to be taken for one: "+file), 0o600); err != nil {
		t.Fatal(err)
	}
	again := rig.Start(t)
	client = again.Operator()
	defer client.Close()
	answered(t, client)
	client.OnReading = func(err error) { t.Errorf("no worker answers: %v", err) }
	if page, err = client.Jobs(context.WithoutCancel(t.Context()), fleet.Query{Limit: 5}); err != nil || len(page.Records) != 1 {
		t.Errorf("a worker finds %+v, %v", page, err)
	}
	if rig.Logs.FilterMessageSnippet("is made anew").Len() != 1 {
		t.Error("it is not said that the file was made anew")
	}
}
