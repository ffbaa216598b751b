package show

import (
	"fmt"
	"unicode/utf8"

	"rekey/internal/bus"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/terminal"
)

// DeadLetters are a list of dead letters.
func DeadLetters(t *terminal.Table, list []bus.DeadLetter) {
	t.Head("N", "AT", "CODE", terminal.Optional("KIND"), "JOB", "REASON")
	for _, d := range list {
		t.Row(d.Number, d.At, terminal.Meant{Cell: d.Code, Meaning: letterMeaning(d.Succeeded != "")}, d.Kind, terminal.ID(d.JobID), since(d.Succeeded, undone(d.Receiver, d.Reason)))
	}
}

// since says before why something was not done that it was done since.
func since(outcome jobs.Outcome, reason string) string {
	if outcome == "" {
		return reason
	}
	return string(outcome) + " since; before: " + reason
}

// letterMeaning is what the code of dead letters means to a person.
func letterMeaning(succeeded bool) terminal.Meaning {
	if succeeded {
		return terminal.Faint
	}
	return terminal.Bad
}

// undone is why something was not done: of a notification, with the receiver that did not get it.
func undone(receiver, reason string) string {
	if receiver == "" {
		return reason
	}
	return "not sent to " + receiver + ": " + reason
}

// DeadLetter is one dead letter with at most so many bytes of the original message. 0: all of it.
func DeadLetter(t *terminal.Table, d *bus.DeadLetter, most int) {
	t.Field("number", d.Number)
	t.Field("at", d.At)
	t.Field("subject", d.Subject)
	t.Field("code", d.Code)
	if len(d.Problems) == 0 {
		t.Field("reason", d.Reason)
	}
	for _, problem := range d.Problems {
		t.Field("reason", problem)
	}
	t.Field("receiver", d.Receiver)
	t.Field("kind", d.Kind)
	t.Field("job", d.JobID)
	if d.Succeeded != "" {
		t.Field("since then", string(d.Succeeded)+": nothing is left to do for this dead letter, drop it")
	}
	t.Field("event", EventName(d.Event))
	if d.Event.Seq != 0 {
		t.Field("event subject", fmt.Sprintf("%s, sequence %d", d.Event.Subject, d.Event.Seq))
	}
	payload := begin(d.Payload, most)
	t.Verbatim("\n" + terminal.Lines(payload))
	if left := len(d.Payload) - len(payload); left > 0 {
		t.Line("The message has %d bytes; left out here are %d. -o json shows all.", len(d.Payload), left)
	}
}

// begin is the begin of a text: at most so many bytes, and no part of a character. 0: all of it.
func begin(text string, most int) string {
	if most <= 0 || len(text) <= most {
		return text
	}
	for end := most; end > most-utf8.UTFMax; end-- {
		if utf8.RuneStart(text[end]) {
			return text[:end]
		}
	}
	return text[:most] // It is no UTF-8.
}

// Causes are dead letters in groups.
func Causes(t *terminal.Table, list []fleet.Cause) {
	t.Head("LETTERS", "NUMBERS", "CODE", terminal.Optional("KIND"), terminal.Optional("FIRST"), "LAST", "REASON OF THE LAST")
	for _, cause := range list {
		reason := undone(cause.Receiver, cause.Reason)
		if cause.Succeeded > 0 {
			reason = fmt.Sprintf("%d succeeded since; %s", cause.Succeeded, reason)
		}
		t.Row(cause.Letters, cause.Numbers, terminal.Meant{Cell: cause.Code, Meaning: letterMeaning(cause.Succeeded == cause.Letters)}, cause.Kind, cause.First, cause.Last, reason)
	}
}

// Replayed is what became of dead letters.
func Replayed(t *terminal.Table, list []fleet.Replayed) {
	if len(list) == 0 {
		return
	}
	t.Head("N", "RESULT", "JOB", "EVENT", "ERROR")
	for _, r := range list {
		result := terminal.Meant{Cell: "back at work", Meaning: terminal.Good}
		switch {
		case r.Error != "":
			result = terminal.Meant{Cell: "failed", Meaning: terminal.Bad}
		case r.Dropped:
			result.Cell = "dropped"
		case r.Nothing:
			result.Cell = "has succeeded"
		case r.Receiver != "":
			result.Cell = "sent again to " + r.Receiver
		case r.EventSeq != 0:
			result.Cell = "published again"
		}
		event := ""
		if r.EventSeq != 0 {
			event = fmt.Sprintf("sequence %d", r.EventSeq)
		}
		t.Row(r.Number, result, terminal.ID(r.JobID), event, r.Error)
	}
}
