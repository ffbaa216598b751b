package layout

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// leastAge is how long a stream must keep its messages at least: workers may be away for a while.
	leastAge = time.Hour
	// leastSize is the smallest limit of a message's size: what workers write is not larger as a rule.
	leastSize = 64 << 10
)

// comparison collects where a stream is not what a worker would have made.
type comparison struct {
	want, have jetstream.StreamConfig
	// weak keeps a promise less well. wrong stops the work, or drops what was accepted.
	weak, wrong []string
}

// differences compares an existing stream with the declared one. Streams belong to the administrator of the server:
// workers use them unchanged, and are not ready with one that is wrong.
func differences(want, have jetstream.StreamConfig) (weak, wrong []string) {
	c := comparison{want: want, have: have}
	c.intake()
	c.subjects()
	c.retention()
	c.limits()
	c.storage()
	return c.weak, c.wrong
}

func (c *comparison) differs(list *[]string, what string, want, have any, meaning string) {
	*list = append(*list, fmt.Sprintf("%s is %v instead of %v: %s", what, have, want, meaning))
}

// isBucket tells the stream of a bucket.
func (c *comparison) isBucket() bool { return strings.HasPrefix(c.want.Name, "KV_") }

// isWork reports whether the stream holds what was accepted and is not worked yet. The results, and the index of the
// ledger, only grow shorter.
func (c *comparison) isWork() bool { return !c.isBucket() && c.want.MaxAge < keepResults }

// intake looks at the settings under which a stream takes nothing in, or something else than was sent.
func (c *comparison) intake() {
	if c.have.Mirror != nil {
		c.wrong = append(c.wrong, "it is a mirror of "+c.have.Mirror.Name+": nothing can be stored in it")
	}
	if c.have.Sealed {
		c.wrong = append(c.wrong, "it is sealed: nothing can be stored in it")
	}
	if c.have.NoAck {
		c.wrong = append(c.wrong, "no_ack is true instead of false: what is published is never acknowledged")
	}
	if t := c.have.SubjectTransform; t != nil {
		c.wrong = append(c.wrong, fmt.Sprintf("a subject transform moves %q to %q: workers look elsewhere", t.Source, t.Destination))
	}
	if c.have.AllowMsgCounter {
		c.wrong = append(c.wrong, "allow_msg_counter is true instead of false: only numbers can be stored in it")
	}
	if c.have.AllowRollup && !c.want.AllowRollup {
		list := &c.wrong
		if c.isBucket() { // As other clients make them; the writers are few.
			list = &c.weak
		}
		*list = append(*list, "allow_rollup_hdrs is true instead of false: a publisher can empty it with a header")
	}
	if !c.have.AllowDirect {
		c.wrong = append(c.wrong, "allow_direct is false instead of true: workers and commands cannot read it")
	}
	if len(c.have.Sources) > 0 {
		c.weak = append(c.weak, "it takes in the messages of other streams")
	}
}

// subjects compares where the stream takes messages from, and where it sends them on to.
func (c *comparison) subjects() {
	covered := func(subject string) bool {
		return slices.ContainsFunc(c.have.Subjects, func(have string) bool { return Covers(have, subject) })
	}
	switch {
	case slices.Equal(c.want.Subjects, c.have.Subjects), c.have.Mirror != nil:
	case slices.ContainsFunc(c.want.Subjects, func(want string) bool { return !covered(want) }):
		c.differs(&c.wrong, "subjects", c.want.Subjects, c.have.Subjects, "what is published elsewhere is not kept")
	default:
		c.differs(&c.weak, "subjects", c.want.Subjects, c.have.Subjects, "it keeps what is not for it")
	}
	r := c.have.RePublish
	if r == nil {
		return
	}
	namespace, _, _ := strings.Cut(c.have.Name, "_")
	ours := strings.HasPrefix(r.Destination, strings.ToLower(namespace)+".v1.") || strings.HasPrefix(r.Destination, "$") || strings.HasPrefix(r.Destination, ">")
	if ours {
		c.wrong = append(c.wrong, fmt.Sprintf("it republishes to %q, which workers take for something else", r.Destination))
		return
	}
	c.weak = append(c.weak, fmt.Sprintf("it republishes to %q: copies of what it holds go there", r.Destination))
}

// retention compares when messages are dropped although no limit is reached.
func (c *comparison) retention() {
	const meaning = "messages may be dropped before they are worked, or stay behind"
	switch {
	case c.want.Retention == c.have.Retention:
	case c.want.Retention == jetstream.WorkQueuePolicy && c.have.Retention == jetstream.LimitsPolicy:
		c.differs(&c.weak, "retention", c.want.Retention, c.have.Retention, meaning)
	default:
		c.differs(&c.wrong, "retention", c.want.Retention, c.have.Retention, meaning)
	}
	longer := c.have.MaxAge == 0 || c.want.MaxAge > 0 && c.have.MaxAge > c.want.MaxAge
	if c.want.MaxAge == c.have.MaxAge || c.isBucket() && longer {
		return
	}
	list := &c.weak
	if c.have.MaxAge > 0 && c.have.MaxAge < leastAge && (c.want.MaxAge == 0 || c.want.MaxAge > leastAge) {
		list = &c.wrong
	}
	c.differs(list, "max age", c.want.MaxAge, c.have.MaxAge, "messages are dropped at another age, worked or not")
}

// limits compares how much the stream holds.
func (c *comparison) limits() {
	limited := c.have.MaxMsgs > 0 || c.have.MaxBytes > 0
	if c.want.Discard != c.have.Discard {
		list := &c.weak
		if limited && (c.isWork() || c.isBucket()) {
			list = &c.wrong
		}
		c.differs(list, "discard policy", c.want.Discard, c.have.Discard, "a full stream drops its oldest messages, worked or not")
	}
	if c.want.Duplicates == shortestWindow && c.have.Duplicates > c.want.Duplicates {
		c.differs(&c.weak, "duplicate window", c.want.Duplicates, c.have.Duplicates,
			"within it, the stream drops an event whose Nats-Msg-Id an earlier one had, from any publisher")
	}
	if limited || c.have.MaxMsgSize > 0 {
		c.differs(&c.weak, "limit (messages, bytes, bytes of one)", "none", []int64{c.have.MaxMsgs, c.have.MaxBytes, int64(c.have.MaxMsgSize)},
			"publishers are refused beyond it")
	}
	if c.have.MaxMsgSize > 0 && c.have.MaxMsgSize < leastSize {
		c.differs(&c.wrong, "max_msg_size", "unlimited", c.have.MaxMsgSize, fmt.Sprintf("it must be %d at least", leastSize))
	}
	if c.have.MaxMsgsPerSubject > 0 && c.want.MaxMsgsPerSubject <= 0 {
		c.differs(&c.wrong, "messages per subject", "unlimited", c.have.MaxMsgsPerSubject, "those beyond it replace older ones, worked or not, or are refused")
	}
}

// storage compares how well the stream keeps what it has acknowledged. What is declared to be in memory promises nothing.
func (c *comparison) storage() {
	if c.want.Storage != jetstream.FileStorage {
		c.weak = nil
		return
	}
	if c.have.Storage != jetstream.FileStorage {
		c.differs(&c.weak, "storage", jetstream.FileStorage, c.have.Storage, "a restart of the server loses what it acknowledged")
	}
	if c.have.Replicas < c.want.Replicas {
		c.differs(&c.weak, "replicas", c.want.Replicas, c.have.Replicas, "fewer lost servers lose what was acknowledged")
	}
	if c.have.PersistMode == jetstream.AsyncPersistMode {
		c.weak = append(c.weak, "persist_mode is async: a crash of the server loses what it acknowledged")
	}
}

// full says that a stream takes no other message, or nothing.
func full(info *jetstream.StreamInfo) string {
	const message = 4 << 10 // What is left must be enough for a usual one.
	cfg, state := info.Config, info.State
	switch {
	case cfg.Discard != jetstream.DiscardNew:
		return ""
	case cfg.MaxMsgs > 0 && state.Msgs >= uint64(cfg.MaxMsgs):
		return fmt.Sprintf("it is full: %d of %d messages; what is published is refused", state.Msgs, cfg.MaxMsgs)
	case cfg.MaxBytes > 0 && state.Bytes+message > uint64(cfg.MaxBytes):
		return fmt.Sprintf("it is full: %d of %d bytes; what is published is refused", state.Bytes, cfg.MaxBytes)
	}
	return ""
}

// Covers reports whether a pattern of NATS (* for one token, > for one and all further ones) takes in all that another
// one does.
func Covers(pattern, subject string) bool {
	want, have := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i, token := range want {
		switch {
		case i >= len(have):
			return false
		case token == ">":
			return true
		case token != "*" && token != have[i], token == "*" && have[i] == ">":
			return false
		}
	}
	return len(want) == len(have)
}

// Difference is a setting of a consumer that is not as declared.
type Difference struct {
	Text  string
	Fixed bool // It cannot be changed, or has passed messages over: the consumer must be made anew.
}

// ConsumerDifferences compares a consumer with the declared one. Consumers belong to the workers, which set them back.
func ConsumerDifferences(want Consumer, info *jetstream.ConsumerInfo) []Difference {
	have := info.Config
	var list []Difference
	differ := func(fixed bool, what string, want, have any) {
		if want != have {
			list = append(list, Difference{fmt.Sprintf("%s is %v instead of %v", what, have, want), fixed})
		}
	}
	if have.DeliverSubject != "" {
		list = append(list, Difference{"it delivers to " + have.DeliverSubject + " instead of to workers that ask", true})
	}
	differ(true, "filter", strings.Join(Filters(want.ConsumerConfig), ", "), strings.Join(Filters(have), ", "))
	differ(true, "ack_policy", want.AckPolicy, have.AckPolicy)
	differ(true, "replay_policy", want.ReplayPolicy, have.ReplayPolicy)
	differ(true, "mem_storage", want.MemoryStorage, have.MemoryStorage)
	differ(true, "priority groups", strings.Join(want.PriorityGroups, ", "), strings.Join(have.PriorityGroups, ", "))
	differ(false, "paused", false, info.Paused)
	differ(false, "ack_wait", want.AckWait, have.AckWait)
	differ(false, "backoff", fmt.Sprint(want.BackOff), fmt.Sprint(have.BackOff))
	differ(false, "max_deliver", want.MaxDeliver, have.MaxDeliver)
	differ(false, "max_ack_pending", want.MaxAckPending, have.MaxAckPending)
	differ(false, "headers_only", want.HeadersOnly, have.HeadersOnly)
	differ(false, "max_batch", want.MaxRequestBatch, have.MaxRequestBatch)
	differ(false, "max_expires", want.MaxRequestExpires, have.MaxRequestExpires)
	differ(false, "max_bytes", want.MaxRequestMaxBytes, have.MaxRequestMaxBytes)
	differ(false, "inactive_threshold", want.InactiveThreshold, have.InactiveThreshold)
	return list
}

// Filters are the subjects that a consumer takes, however they are written.
func Filters(c jetstream.ConsumerConfig) []string {
	list := slices.Clone(c.FilterSubjects)
	if c.FilterSubject != "" {
		list = append(list, c.FilterSubject)
	}
	slices.Sort(list)
	return list
}
