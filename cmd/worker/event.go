package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"rekey/internal/bus"
	"rekey/internal/config"
	"rekey/internal/event"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/plain"
	"rekey/internal/terminal"
)

// maxFile bounds what is read of a file that is no event.
const maxFile = 8 << 20

func (c *cli) eventCommand() *cobra.Command {
	var id string
	publish := c.withOutput(c.withServer(&cobra.Command{
		Use:   "publish CLASS FILE|-",
		Short: "Publish an event from a file or standard input",
		Long: `Publish an event: plain JSON with a kind, or a CloudEvent 1.0 in JSON. The class becomes
the last part of the subject, as in rekey.v1.event.incident. The payload goes out as it is;
the worker says what it makes of it. The last token of a class counts: siem.incident is as urgent
as incident. An --id that was published just before (within the stream's duplicate window, 100 ms
unless the stream was made otherwise) is a duplicate: nothing is stored, whatever is in the file
(exit 0). Later the ledger knows it. What no worker could read, whatever its configuration, is refused
with exit code 1, and not published: more than 1048576 bytes, or not JSON. The line of the mistake is said.`,
		Example: "  echo '" + exampleRequest() + "' |\n    worker event publish incident -",
		Args:    want("CLASS", "FILE"),
		RunE: func(cmd *cobra.Command, list []string) error {
			if err := bus.CheckClass(list[0]); err != nil {
				return usage(err)
			}
			if meant := meantClass(list[0]); meant != "" {
				c.tell("warning: the class %s is not %s, which may be meant; the last token of a class decides about its lane", list[0], meant)
			}
			data, err := c.readUpTo(list[1], jobs.MaxEventBytes)
			if err != nil {
				return err
			}
			return c.ask(cmd.Context(), func(ctx context.Context, client *fleet.Client) error {
				err := c.publishEvent(ctx, client, list[0], data, id)
				if wrong, ok := errors.AsType[*jobs.Malformed](err); ok {
					return fmt.Errorf("%s: %w; nothing was published", inputName(list[1]), wrong)
				}
				return err
			})
		},
	}))
	publish.Flags().StringVar(&id, "id", "", "`ID` of the event (Nats-Msg-Id), where it is no CloudEvent")
	return noun("event", "Work with events", publish, c.eventsCommand())
}

// eventFilter is what "event ls" shows.
type eventFilter struct {
	from, door string
	unmatched  bool
	limit      int
}

func (f eventFilter) wants(e fleet.Seen) bool {
	return (f.door == "" || e.Source == event.SourceOfDoors+f.door) && (!f.unmatched || e.Result == jobs.EventUnmatched)
}

func (c *cli) eventsCommand() *cobra.Command {
	var f eventFilter
	cmd := c.withOutput(c.withServer(&cobra.Command{
		Use:   "ls",
		Short: "List the latest events, and what the fleet's policies make of them",
		Long: `List the events that the stream still keeps, the latest first, with what the policies that a worker has
loaded last make of them now: that may be something else than when they came. Events that held secrets in
the clear are erased once they are taken in, and are not listed.`,
		Example: "  worker event ls --unmatched\n  worker event ls --door github --since 1h -o json",
		Args:    want(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.listEvents(cmd.Context(), f) },
	}))
	cmd.Flags().StringVar(&f.from, "since", "24h", "only those since then: a `TIME` (RFC 3339) or an age like 24h or 7d")
	cmd.Flags().StringVar(&f.door, "door", "", "only those of the door `NAME`")
	cmd.Flags().BoolVar(&f.unmatched, "unmatched", false, "only those that ask for nothing: no policy matches, and they are no direct requests")
	cmd.Flags().IntVar(&f.limit, "limit", 50, "show up to `N`")
	return cmd
}

func (c *cli) listEvents(ctx context.Context, f eventFilter) error {
	begin, err := since(f.from)
	if err != nil {
		return usage(err)
	}
	if f.limit < 1 {
		return usagef("--limit must be at least 1")
	}
	var list []fleet.Seen
	err = c.askLong(ctx, func(ctx context.Context, client *fleet.Client) error {
		rules, _, err := client.FleetEvaluator(ctx)
		if err == nil {
			list, err = client.Events(ctx, begin(c.now()), rules, f.limit, f.wants)
		}
		return err
	})
	if err != nil {
		return err
	}
	slices.Reverse(list)
	return printList(c, list, "No events.", func(t *terminal.Table) {
		t.Head("SEQ", "AT", "SUBJECT", "SOURCE", "ID", "TYPE", "RESULT", "JOBS", "POLICIES")
		for _, e := range list {
			t.Row(e.Seq, e.At, e.Subject, e.Source, e.ID, e.Type, e.Result, e.Jobs, strings.Join(e.Policies, ", "))
		}
	})
}

func (c *cli) publishEvent(ctx context.Context, client *fleet.Client, class string, data []byte, id string) error {
	result, err := client.Publish(ctx, class, data, id)
	if err != nil {
		return err
	}
	return c.print(result, func(t *terminal.Table) {
		if result.Duplicate {
			t.Line("duplicate: an event with the id %s was published just before, sequence %d; nothing is stored", plain.Line(id), result.Seq)
			return
		}
		t.Line("published on %s, sequence %d", result.Subject, result.Seq)
	})
}

// read returns the content of a file, or of standard input for "-".
func (c *cli) read(file string) ([]byte, error) { return c.readUpTo(file, maxFile) }

// readUpTo is read, of at most so many bytes.
func (c *cli) readUpTo(file string, most int64) ([]byte, error) {
	in := c.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close() //nolint:errcheck // It was only read.
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, most+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", inputName(file), err)
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("%s has more than %d bytes, which is the limit", inputName(file), most)
	}
	return data, nil
}

// exampleRequest is a request without a secret, as plain JSON.
func exampleRequest() string {
	k := kinds.Sample()
	var params []string
	for pair := range strings.FieldsSeq(k.Examples[0]) {
		name, value, _ := strings.Cut(pair, "=")
		params = append(params, fmt.Sprintf("%q:%q", name, value))
	}
	return fmt.Sprintf(`{"kind":%q,"params":{%s}}`, k.Name, strings.Join(params, ","))
}

// mistypedBy is how many letters a mistyped class may be off.
const mistypedBy = 2

// meantClass returns the class of Rekey's own that one of a class's tokens was probably meant as, or "". A
// mistyped incident is no error: a class may have any name, and its jobs are in no hurry then.
func meantClass(class string) string {
	known := []string{jobs.ClassIncident, jobs.ClassRotation}
	if slices.Contains(known, jobs.LastToken(class)) {
		return ""
	}
	for token := range strings.SplitSeq(strings.ToLower(class), ".") {
		for _, name := range known {
			if config.EditDistance(token, name) <= mistypedBy {
				return name
			}
		}
	}
	return ""
}

// inputName is what messages call a file that read reads.
func inputName(file string) string {
	if file == "-" {
		return "standard input"
	}
	return file
}
