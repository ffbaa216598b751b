package show

import (
	"fmt"

	"rekey/internal/bus"
	"rekey/internal/terminal"
)

// DeadLetters are a list of dead letters.
func DeadLetters(t *terminal.Table, list []bus.DeadLetter) {
	t.Head("N", "AT", "CODE", terminal.Optional("KIND"), "JOB", "REASON")
	for _, d := range list {
		t.Row(d.Number, d.At, terminal.Meant{Cell: d.Code, Meaning: terminal.Bad}, d.Kind, terminal.ID(d.JobID), d.Reason)
	}
}

// DeadLetter is one dead letter with the original message.
func DeadLetter(t *terminal.Table, d *bus.DeadLetter) {
	t.Field("number", d.Number)
	t.Field("at", d.At)
	t.Field("subject", d.Subject)
	t.Field("code", d.Code)
	t.Field("reason", d.Reason)
	t.Field("receiver", d.Receiver)
	t.Field("kind", d.Kind)
	t.Field("job", d.JobID)
	t.Field("event", EventName(d.Event))
	if d.Event.Seq != 0 {
		t.Field("event subject", fmt.Sprintf("%s, sequence %d", d.Event.Subject, d.Event.Seq))
	}
	t.Line("\n%s", terminal.PrintableLines(d.Payload))
}
