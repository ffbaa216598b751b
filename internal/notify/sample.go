package notify

import (
	"encoding/json"
	"fmt"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// Sample is a made-up result, by which templates are checked and receivers are tried.
func Sample(namespace, worker string, now time.Time) (Result, error) {
	kind := kinds.Sample()
	record := jobs.PublicRecord{
		JobID: "sample", Kind: kind.Name, Account: "sample", Target: kind.Target(func(string) string { return "0123456789abcdef01234567" }),
		Params: map[string]string{}, Lane: jobs.LaneUrgent, Origin: jobs.OriginOperator, State: jobs.StateDone, Outcome: jobs.OutcomeRevoked,
		Reason: "a sample from worker receiver test: nothing was revoked", RequestedBy: "worker receiver test", DryRun: true,
		AcceptedAt: now.Add(-time.Second), FinishedAt: now,
		Events: []jobs.RecordedEvent{{EventRef: jobs.EventRef{Source: "rekey/operator", ID: "sample", At: now.Add(-time.Second)}}}, EventCount: 1,
		Attempts: []jobs.Attempt{{
			Attempt: 1, Worker: worker, StartedAt: now.Add(-time.Second), FinishedAt: now, Status: 204, Reason: jobs.ReasonNone,
		}},
		AttemptCount: 1,
	}
	data, err := json.Marshal(record)
	if err != nil {
		return Result{}, fmt.Errorf("encoding a sample: %w", err)
	}
	return Result{
		ID: fmt.Sprintf("sample-%d", now.UnixNano()), Source: namespace, Type: "rekey.notify.test.v1", Time: now, Data: data, record: record,
	}, nil
}
