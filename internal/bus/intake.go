package bus

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"rekey/internal/backoff"
	"rekey/internal/event"
	"rekey/internal/fair"
	"rekey/internal/jobs"
	"rekey/internal/layout"
	"rekey/internal/quiet"
)

// intakeWorkers is how many events of a consumer are taken in at once. An intake is a few
// synced writes, which share their syncs.
const intakeWorkers = 16

// What an intake holds of events that wait for their turn: the more, the further an urgent event is ahead of deliveries that came before it.
// One door, client, or all other publishers together, have up to senderAtOnce of the events that are taken in at once.
const (
	mostWaiting  = 4096
	waitingBytes = 4 << 20
	senderAtOnce = intakeWorkers * 3 / 4
)

// Large events, by their bytes, and how many of a consumer's are taken in at once; as many more wait.
const (
	largeEvent  = 64 << 10
	largeAtOnce = 4
)

// A costly event is put back while enough others are worked on: for 1 s first, for 8 s at most. It was
// read for nothing then, so that it must not come too soon.
const (
	crowdDelay     = time.Second
	crowdDelayMost = 8 * time.Second
)

// Acceptor turns an event into jobs. Its error is of *jobs.Malformed and *jobs.Rejection, joined, for
// the parts of the event that are rejected and go to the dead letters; after another one the event is redelivered.
type Acceptor interface {
	Accept(ctx context.Context, e jobs.Event) (jobs.Accepted, error)
}

// IntakeRecorder counts what became of events.
type IntakeRecorder interface {
	EventReceived(result string)
	// DoorEvent counts what became of the event of a door.
	DoorEvent(door, result string)
}

// Intake reads the stream of events and hands them to the desk. Incidents have a consumer
// of their own, so that a flood of other events delays none of them.
type Intake struct {
	Conn     *Conn
	Acceptor Acceptor
	Secrets  jobs.Secrets // Zero: secrets in the clear are allowed.
	// Signatures says whose events are taken in. Zero: those of all publishers.
	Signatures event.Signatures
	Recorder   IntakeRecorder
	// Slots run the jobs of new events at once while one of them is free. Nil: all jobs are queued.
	Slots  *Workers
	Logger *zap.Logger

	failures *quiet.Failures // Made by Run.
}

// Run takes events in until ctx ends and then returns when those in hand are settled.
// Events that were pulled and not begun go back to the server.
func (in Intake) Run(ctx context.Context) error {
	log := in.Logger.Named("intake")
	in.failures = &quiet.Failures{}
	feeds := map[string]*puller{}
	for _, want := range layout.IntakeConsumers(in.Conn.names) {
		cons, err := in.Conn.consumer(ctx, want)
		if err != nil {
			return err
		}
		feeds[want.Durable] = newPuller(in.Conn, cons, 2*intakeWorkers, log)
	}
	var running sync.WaitGroup
	for name, f := range feeds {
		isOthers, large := name == layout.ConsumerEvents, jobs.NewCrowd(largeAtOnce, largeAtOnce)
		turns := fair.Config{Items: mostWaiting, Bytes: waitingBytes, AtOnce: senderAtOnce}
		running.Go(func() {
			f.serveInTurn(ctx, intakeWorkers, turns, in.sender, func(h *delivery) { in.handle(ctx, h, isOthers, large) })
		})
	}
	running.Wait()
	return nil
}

// sender is whose turn it is when an event is taken in.
func (in Intake) sender(h *delivery) string {
	return event.SenderOf(in.Conn.marks, h.Subject(), h.Headers(), h.Data())
}

// handle takes one event in and settles its message.
func (in Intake) handle(ctx context.Context, h *delivery, isOthers bool, large *jobs.Crowd) {
	if isOthers && in.Conn.names.IsIncident(h.Subject()) { // One of the incidents' own consumers has it.
		h.drop()
		_ = h.Ack() // It is not waited for: what is redelivered ends here once more.
		return
	}
	verdict := jobs.Settlement{}
	if ctx.Err() == nil {
		verdict = in.inTurn(context.WithoutCancel(ctx), h, large)
	}
	if verdict.Leave {
		return // A slot runs its job.
	}
	h.drop()
	if err := settle(ctx, in.Conn.nc, h.Msg, verdict); err != nil {
		in.failures.Warn(in.Logger.Named("intake"), "event is not settled; it is redelivered", err, zap.Uint64("event_seq", h.meta.Sequence.Stream))
	}
}

// inTurn accepts the event, or puts it back while enough others are worked on that are large, too: to
// look through such a one takes as long as to take in a hundred others.
func (in Intake) inTurn(ctx context.Context, h *delivery, large *jobs.Crowd) jobs.Settlement {
	if len(h.Data()) > largeEvent {
		if !large.Enter(ctx) {
			return crowded(h)
		}
		defer large.Leave()
	}
	return in.accept(ctx, h)
}

// crowded puts an event back.
func crowded(h *delivery) jobs.Settlement {
	return jobs.Settlement{Delay: backoff.Delay(crowdDelay, crowdDelayMost, int(h.meta.NumDelivered))}
}

// accept hands the event to the desk; what cannot be understood, or is held, goes to the dead letters.
func (in Intake) accept(ctx context.Context, h *delivery) jobs.Settlement {
	m := event.Message{
		Subject: h.Subject(), Header: h.Headers(), Data: h.Data(),
		Seq: h.meta.Sequence.Stream, At: h.meta.Timestamp, Redelivered: h.redelivered(),
		Known: in.Secrets.Known.Set(), Marks: in.Conn.marks,
	}
	event, accepted, err := in.take(ctx, m, h)
	log := in.Logger.Named("intake").With(zap.Uint64("event_seq", m.Seq), zap.String("event_id", event.ID))
	if errors.Is(err, jobs.ErrCrowded) {
		return crowded(h)
	}
	if err != nil {
		delay := laterDelay(err, h.meta.NumDelivered)
		in.failures.Warn(log, "event is not taken in yet", err, zap.Duration("delay", delay))
		return jobs.Settlement{Delay: delay}
	}
	in.Recorder.EventReceived(string(accepted.Result))
	in.unmatched(event.Source, accepted)
	if accepted.Ended != "" {
		log.Warn("event asks once more for what a job of the same source and id has failed to do: duplicate, nothing is done",
			zap.String("job_id", accepted.JobID), zap.String("outcome", string(accepted.Ended)))
	}
	log.Debug("event taken in", zap.String("result", string(accepted.Result)), zap.String("job_id", accepted.JobID))
	return jobs.Settlement{Done: true, Leave: accepted.Started}
}

// unmatched makes it seen that the event of a door asked for nothing: its sender has an answer that says no more than that it is stored.
func (in Intake) unmatched(source string, accepted jobs.Accepted) {
	door, ok := strings.CutPrefix(source, event.SourceOfDoors)
	if !ok || accepted.Result != jobs.EventUnmatched {
		return
	}
	in.Recorder.DoorEvent(door, string(accepted.Result))
	const message = "an event of a door matches no policy: nothing is done"
	if repeated, news := in.failures.News(message+" "+door, errUnmatched); news {
		in.Logger.Named("intake").Info(message, zap.String("door", door), zap.String("see", "worker event ls --unmatched"), repeated)
	}
}

// errUnmatched is what a door's events have in common that no policy matches.
var errUnmatched = errors.New("no policy matches")

// take hands the event to the desk. In the end it is a job or a dead letter, and a message that
// delivery secrets in the clear is erased.
func (in Intake) take(ctx context.Context, m event.Message, h *delivery) (jobs.Event, jobs.Accepted, error) {
	m, err := in.whole(ctx, m)
	if err != nil {
		return jobs.Event{}, jobs.Accepted{}, err
	}
	m = event.Receive(in.Conn.names, m)
	flaw, signErr := m.Flaw, in.Signatures.Check(m)
	m, openErr := event.Open(in.Conn.names, in.Secrets.Sealer, m)
	e, err := event.Read(in.Conn.names, m)
	e.New = !m.Redelivered
	m.Secrets = append(e.Request.Params.InClear(), event.SecretHeaders(m.Header)...)
	if err = cmp.Or(flaw, signErr, openErr, errors.Join(in.refuse(m, &e), err)); err != nil {
		accepted, err := in.deadLetter(ctx, m, &e, err)
		return e, accepted, err
	}
	if e.New && in.Slots != nil && !in.erases(m, &e) { // What is erased cannot answer for its job.
		e.Start = func(o jobs.Opened) bool { return in.Slots.offer(h, o) }
	}
	accepted, err := in.Acceptor.Accept(ctx, e)
	m.Secrets = append(m.Secrets, accepted.InClear()...)
	if err != nil {
		accepted, err := in.deadLetter(ctx, m, &e, err)
		return e, accepted, err
	}
	if !accepted.Started && in.erases(m, &e) {
		err = in.erase(ctx, m)
	}
	return e, accepted, err
}

// whole returns a message as the stream has it. A consumer that was altered to deliver headers only leaves the payload out, and
// says so in a header that a sender could write, too.
func (in Intake) whole(ctx context.Context, m event.Message) (event.Message, error) {
	if len(m.Data) > 0 || m.Header.Get(nats.MsgSize) == "" {
		return m, nil
	}
	stream, err := in.Conn.js.Stream(ctx, in.Conn.names.Events())
	if err != nil {
		return m, err
	}
	stored, err := stream.GetMsg(ctx, m.Seq)
	if err != nil {
		return m, fmt.Errorf("reading event %d, which was delivered without its payload: %w", m.Seq, err)
	}
	m.Data = stored.Data
	return m, nil
}

// deadLetter puts what cannot be understood, or is held, among the dead letters; any other error is passed on.
func (in Intake) deadLetter(ctx context.Context, m event.Message, e *jobs.Event, why error) (jobs.Accepted, error) {
	// The dead letter and the log show what the event is called. What was wrong with that, the reason says.
	_ = e.Scrub(m.Hidden()...)
	if !isAboutEvent(why) {
		return jobs.Accepted{}, why
	}
	m, dirty := in.seal(m)
	whole, err := in.Conn.deadLetterEvent(ctx, m, *e, why)
	if err != nil {
		return jobs.Accepted{}, err
	}
	if dirty && (whole || in.Secrets.Plaintext == jobs.PlaintextRefuse) {
		if err := in.erase(ctx, m); err != nil {
			return jobs.Accepted{}, err
		}
	}
	in.Logger.Named("intake").Warn("event rejected (in part or in full); dead letter written", zap.Uint64("event_seq", m.Seq),
		zap.String("code", jobs.CodeOf(why)), zap.String("reason", headerText(why.Error(), m.Hidden()...)))
	return jobs.Accepted{Result: jobs.ResultOf(why)}, nil
}

// isAboutEvent reports whether an error is about the event, which then goes to the dead letters;
// after any other one it is redelivered.
func isAboutEvent(err error) bool {
	_, malformed := errors.AsType[*jobs.Malformed](err)
	_, held := errors.AsType[*jobs.Rejection](err)
	return malformed || held
}

// redeliverDelay is the wait before a message is handed over once more because NATS or the ledger
// did not do their part: 1 s, 2 s, 4 s … 30 s.
func redeliverDelay(deliveries uint64) time.Duration {
	return backoff.Delay(time.Second, 30*time.Second, int(deliveries))
}

// laterDelay is the wait before an event is handed over once more that could not be taken in. One for which another worker has loaded a configuration
// waits for that worker alone, and not for something to recover.
func laterDelay(err error, deliveries uint64) time.Duration {
	if errors.Is(err, jobs.ErrElsewhere) {
		return jobs.ElsewhereDelay()
	}
	return redeliverDelay(deliveries)
}

// allows says that secrets in the clear may stay where they are.
func (in Intake) allows() bool {
	return in.Secrets.Plaintext == "" || in.Secrets.Plaintext == jobs.PlaintextAllow
}

// refuse says, as an error, that a message holds a secret in the clear and must not.
func (in Intake) refuse(m event.Message, e *jobs.Event) error {
	if in.Secrets.Plaintext != jobs.PlaintextRefuse || m.Sealed != "" || !m.Holds(e) {
		return nil
	}
	return &jobs.Rejection{Code: jobs.RejectPlaintext, Detail: "the event holds a secret in the clear, which intake.plaintext refuses: " +
		"seal it (worker seal) or name a file"}
}

// erases reports whether the message of an event that was taken in must not stay in the stream.
func (in Intake) erases(m event.Message, e *jobs.Event) bool {
	switch {
	case in.allows() || m.Sealed != "":
		return false
	case len(m.Secrets) > 0:
		return true
	case e.NotDirect != nil, // Of what only may be a secret, nothing is lost: the event is taken in.
		e.Request.Kind != "" && len(m.Header) == 0 && !bytes.ContainsAny(m.Data, `\`) && !bytes.Contains(m.Data, []byte(`"specversion"`)):
		// Or nothing but the fields of a request, as they were written, and no parameter is a secret.
		return m.Shows()
	}
	return m.Holds(e)
}
