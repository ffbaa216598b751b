package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"rekey/internal/bus"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/plain"
	"rekey/internal/show"
	"rekey/internal/terminal"
)

// waitCodes explains the exit codes of what waits for a job.
const waitCodes = `Exit codes: 0 the credential is dead (revoked, already_gone), 1 it is not, or not known to be (exhausted,
cancelled, a dry run), 2 usage, 3 there is no such job, 5 not known yet (--timeout, an interruption), 6 the job was
refused, or its request was not accepted. A wait for the proof says more than the API's answer: 0 is verified or recorded; also
accepted, where nothing can show more than the API's answer, which standard error says then; 7 is still_alive or reverted.`

// waitFlag adds the flag of a command that can wait for what it asked for.
func waitFlag(cmd *cobra.Command, until *fleet.Until) {
	cmd.Flags().StringVar((*string)(until), "wait", "", "show progress `UNTIL` the outcome, or with --wait=proof until the verdict on the target")
	cmd.Flags().Lookup("wait").NoOptDefVal = string(fleet.UntilOutcome)
	complete(cmd, "wait", jobs.Names(fleet.Untils()))
}

func (c *cli) waitCommand() *cobra.Command {
	var timeout time.Duration
	var until fleet.Until
	cmd := c.withOutput(c.withServer(&cobra.Command{
		Use:               "wait ID",
		ValidArgsFunction: c.completeJobs(),
		Short:             "Wait for the outcome of a job, or for its proof",
		Long: `Wait for the outcome of a job, or for the verdict on its target, with its progress on standard error and the job on standard output.
A job whose event no worker has taken in yet is waited for.

` + waitCodes,
		Example: "  worker job wait 3f9k2c8w5m1x7q0z4r6t8v2y9a --timeout 10m\n  worker job wait 3f9k2c8w5m1x7q0z4r6t8v2y9a --until proof",
		Args:    want("ID"),
		RunE: func(cmd *cobra.Command, list []string) error {
			if timeout < 0 {
				return usagef("--timeout must not be negative")
			}
			if _, err := member("--until", string(until), fleet.Untils()); err != nil {
				return usage(err)
			}
			ctx, client, err := c.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			id, err := c.jobID(ctx, client, list[0])
			if err != nil {
				return err
			}
			return c.await(ctx, client, fleet.Wait{JobID: id, Proof: until == fleet.UntilProof}, timeout)
		},
	}))
	cmd.Flags().StringVar((*string)(&until), "until", string(fleet.UntilOutcome), "`WHAT` to wait for: outcome or proof")
	complete(cmd, "until", jobs.Names(fleet.Untils()))
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "`DURATION` to wait at most; 0 is without an end")
	return cmd
}

// jobID is the id that begins with what is given, asked for as every question.
func (c *cli) jobID(ctx context.Context, client *fleet.Client, given string) (string, error) {
	limited, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	id, err := client.JobID(limited, given)
	return id, unanswered(ctx, limited, err)
}

// await shows how a job goes until what is waited for has come.
func (c *cli) await(ctx context.Context, client *fleet.Client, w fleet.Wait, timeout time.Duration) error {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, fmt.Errorf("--timeout of %s", timeout))
		defer cancel()
	}
	var last, lastOfProof string
	w.Progress = func(r jobs.PublicRecord) {
		if line := show.Progress(r, c.now()); line != last {
			c.say("%s", line)
			last = line
		}
		if line := show.ProofProgress(r, c.now()); w.Proof && line != "" && line != lastOfProof {
			c.say("%s", line)
			lastOfProof = line
		}
	}
	w.Unattended = func(f bus.Fleet, taken bool) { c.say("%s", show.Unattended(f, taken, w.Stored)) }
	record, err := client.Await(ctx, w)
	if err != nil {
		return c.notAwaited(ctx, w, err)
	}
	if err := c.printJob(record); err != nil {
		return err
	}
	switch {
	case record.Outcome.Success() && w.Proof:
		return c.proven(&record)
	case record.Outcome.Success():
		return nil
	case record.Outcome == jobs.OutcomeRefused:
		return &codeError{exitRefused, errReported}
	}
	return errReported
}

// proven says what a verdict leaves open, and is the error of a target that is alive.
func (c *cli) proven(r *jobs.PublicRecord) error {
	switch {
	case r.Alive():
		return &codeError{exitAlive, errReported}
	case r.Proof == nil:
		c.say("the target is not looked at: only the API's answer says that it is dead")
	case !r.Verdict().Dead():
		c.say("not proven: only the API's answer says that the target is dead")
	}
	return nil
}

// notAwaited is the error of a wait that saw no outcome.
func (c *cli) notAwaited(ctx context.Context, w fleet.Wait, err error) error {
	if _, ok := errors.AsType[*fleet.NotAcceptedError](err); ok {
		return &codeError{exitRefused, err}
	}
	name, look := "job "+terminal.Short(plain.Line(w.JobID), 64), "worker job show "+plain.Line(w.JobID)
	if errors.Is(err, jobs.ErrNotFound) {
		return fmt.Errorf("%s: %w", name, err)
	}
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, context.Canceled):
		err = errors.New("interrupted")
	case cause != nil:
		err = cause
	}
	what := "outcome"
	if w.Proof {
		what = "verdict"
	}
	return &codeError{exitUnknown, fmt.Errorf("%s has no %s yet; look with: %s (%w)", name, what, look, err)}
}

// say shows a line of progress on standard error, where it does not mix with the result.
func (c *cli) say(format string, values ...any) {
	c.tell("%s %s", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, values...))
}

// submittedLine says that a job was asked for.
const submittedLine = "job %s is submitted"
