package doctor

import (
	"cmp"
	"strings"

	"rekey/internal/bus"
	"rekey/internal/jobs"
	"rekey/internal/layout"
	"rekey/internal/ledger"
	"rekey/internal/names"
	"rekey/internal/wire"
)

// anything is the token in a subject where a worker has all kinds of tokens.
const anything = "x"

// natsNeeds are what a worker does in NATS, which a server's permissions must allow.
type natsNeeds struct {
	names     names.Names
	namespace string
	inbox     string // Prefix of inboxes.
	domain    string // Of JetStream.
	buckets   []string
	receivers []string // Of notifications.
	worker    string   // Its name; empty: it was given none.
	classes   []string // Of events that come over HTTP.
}

// NATSNeeds are the permissions that a worker of a namespace needs in NATS, its first one included, which makes everything.
func NATSNeeds(namespace string) []Need {
	names := names.New(namespace)
	n := natsNeeds{
		names: names, namespace: namespace, buckets: append(wire.BucketNames(names, namespace), names.Tokens()),
		receivers: []string{anything}, worker: anything,
	}
	return n.list()
}

// list returns all needs, with the names that the worker uses.
func (n natsNeeds) list() []Need {
	needs := n.anywhere()
	for i, need := range needs {
		needs[i].Grant = bus.InDomain(n.domain, need.Grant)
		for j, subject := range need.Subjects {
			need.Subjects[j] = bus.InDomain(n.domain, subject)
		}
	}
	return needs
}

// anywhere are the needs without a JetStream domain.
func (n natsNeeds) anywhere() []Need {
	needs := n.messages()
	needs = append(needs, n.streamNeeds()...)
	for _, bucket := range n.buckets {
		needs = append(needs, n.bucket(bucket)...)
	}
	for _, c := range layout.Consumers(n.names) {
		api := "." + c.Stream + "." + c.Durable
		needs = append(needs,
			createConsumer(c),
			publish("taking from "+c.Stream, "$JS.API.CONSUMER.INFO"+api),
			publish("taking from "+c.Stream, "$JS.API.CONSUMER.MSG.NEXT"+api),
			publish("setting back a consumer of "+c.Stream+" that was altered", "$JS.API.CONSUMER.DELETE"+api),
			publish("setting back a consumer of "+c.Stream+" that was paused", "$JS.API.CONSUMER.PAUSE"+api),
			publish("settling what was taken from "+c.Stream, "$JS.ACK."+c.Stream+".>", "$JS.ACK."+c.Stream+"."+c.Durable+".1.1.1.1.1"),
		)
	}
	for _, receiver := range n.receivers {
		needs = append(needs, n.receiver(receiver)...)
	}
	for _, stream := range []string{n.names.Jobs(), n.names.Events()} {
		needs = append(needs, subscribe("finding stalled messages", "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES."+stream+".*"))
	}
	if n.worker != "" {
		const what = "finding out whether another worker has its worker.name"
		name := n.names.Worker(n.worker)
		needs = append(needs, publish(what, name, name), publish(what, name+".>", name+"."+anything), subscribe(what, name), subscribe(what, name+".*"))
	}
	const search = "answering searches"
	needs = append(needs, publish("finding the workers that answer searches", "$SRV.STATS.rekey-query"),
		publish("searches of the console and the HTTP API", n.names.Query(">"), n.names.Query(anything)),
		subscribe(search, n.names.Query(">")), subscribe(search, "$SRV.PING"), subscribe(search, "$SRV.INFO"), subscribe(search, "$SRV.STATS"),
		subscribe(search, "$SRV.*.rekey-query"), subscribe(search, "$SRV.*.rekey-query.*"))
	return append(needs, subscribe("all answers", cmp.Or(n.inbox, "_INBOX")+".>"))
}

// createConsumer is the need to create a consumer: one filter is a part of the subject on which NATS is
// asked for it, several are not.
func createConsumer(c layout.Consumer) Need {
	what, subject := "taking from "+c.Stream, "$JS.API.CONSUMER.CREATE."+c.Stream+"."+c.Durable
	if c.FilterSubject != "" {
		return publish(what, subject+".>", subject+"."+sample(c.FilterSubject))
	}
	return publish(what, subject)
}

// messages are the subjects of events, jobs, results and dead letters.
func (n natsNeeds) messages() []Need {
	events := []string{n.names.Event(jobs.ClassSchedule), n.names.Event(jobs.ClassOperator)}
	for _, class := range n.classes {
		events = append(events, n.names.Event(class))
	}
	letters, lanes, results := []string{n.names.DeadEvent(), n.names.DeadNotification()}, []string{}, []string{}
	var checks, proofs []string
	for _, kind := range jobs.Kinds() {
		letters = append(letters, n.names.DeadJob(kind))
		for _, lane := range jobs.Lanes() {
			lanes = append(lanes, n.names.Job(lane, kind))
		}
		checks = append(checks, n.names.Check(kind), n.names.Watch(kind))
		for _, verdict := range jobs.Verdicts() {
			proofs = append(proofs, n.names.Proof(kind, verdict))
		}
		for _, outcome := range jobs.Outcomes() {
			results = append(results, n.names.Result(kind, outcome))
		}
	}
	prefix := strings.TrimSuffix(n.names.Event(">"), "event.>")
	return []Need{
		publish("schedules, events over HTTP, and events that are published again", prefix+"event.>", events...),
		publish("making jobs of events", prefix+"job.>", lanes...),
		publish("results", prefix+"result.>", results...),
		publish("checks of what jobs did", prefix+"check.>", checks...),
		publish("verdicts of checks", prefix+"proof.>", proofs...),
		publish("refused requests in the audit trail", prefix+"access.>", n.names.Refused()),
		publish("dead letters", prefix+"dlq.>", letters...),
	}
}

// streamNeeds are about the streams as such.
func (n natsNeeds) streamNeeds() []Need {
	needs := []Need{
		publish("finding another stream on a worker's subjects", "$JS.API.STREAM.NAMES"),
		publish("finding another consumer of the jobs", "$JS.API.CONSUMER.NAMES."+n.names.Jobs()),
		publish("reading the ledger", "$JS.API.DIRECT.GET.KV_"+ledger.RecordsBucket(n.namespace)),
		publish("erasing secrets from events", "$JS.API.STREAM.MSG.DELETE."+n.names.Events()),
		publish("putting stalled jobs back", "$JS.API.STREAM.MSG.DELETE."+n.names.Jobs()),
		publish("replaying and dropping dead letters in the console and over HTTP", "$JS.API.STREAM.MSG.DELETE."+n.names.DeadLetters()),
		publish("reading events again", "$JS.API.DIRECT.GET."+n.names.Events()),
		publish("the age of the oldest job", "$JS.API.DIRECT.GET."+n.names.Jobs()),
	}
	for _, stream := range wire.StreamNames(n.names) {
		needs = append(needs,
			publish("the stream", "$JS.API.STREAM.CREATE."+stream), publish("the stream", "$JS.API.STREAM.INFO."+stream))
	}
	// After a lost answer the stream is searched for what may be there already.
	for _, stream := range []string{n.names.Results(), n.names.DeadLetters()} {
		needs = append(needs, publish("looking for results and dead letters that are there already", "$JS.API.DIRECT.GET."+stream))
	}
	return needs
}

// bucket are the needs of one key-value bucket.
func (n natsNeeds) bucket(bucket string) []Need {
	stream, what := "KV_"+bucket, "the bucket "+bucket
	key := "$KV." + bucket + "."
	needs := []Need{
		publish(what, "$JS.API.STREAM.CREATE."+stream), publish(what, "$JS.API.STREAM.INFO."+stream),
		publish(what, "$JS.API.DIRECT.GET."+stream+".>", "$JS.API.DIRECT.GET."+stream+"."+key+anything),
		publish(what, key+">", key+anything),
	}
	if bucket == n.names.Schedules() || bucket == n.names.Rules() || bucket == n.names.Pace() { // They are read as a whole.
		needs = append(needs, publish(what, "$JS.API.DIRECT.GET."+stream))
	}
	if bucket == n.names.Pace() { // It is followed.
		at := stream + "."
		needs = append(needs,
			publish("following "+bucket, "$JS.API.CONSUMER.CREATE."+at+">", "$JS.API.CONSUMER.CREATE."+at+anything+"."+key+">"),
			publish("following "+bucket, "$JS.API.CONSUMER.DELETE."+at+">", "$JS.API.CONSUMER.DELETE."+at+anything),
			publish("following "+bucket, "$JS.FC."+at+">", "$JS.FC."+at+anything+"."+anything),
		)
	}
	return needs
}

// receiver are the needs of a receiver: its consumers are made, read, and deleted when it is removed.
func (n natsNeeds) receiver(name string) []Need {
	var needs []Need
	what, consumer := "notifications of receiver "+name, layout.ConsumerOfReceiver(name)
	for _, stream := range []string{n.names.Results(), n.names.Jobs()} {
		for _, ask := range []string{"CREATE", "INFO", "MSG.NEXT", "DELETE", "PAUSE"} {
			needs = append(needs, publish(what, "$JS.API.CONSUMER."+ask+"."+stream+"."+consumer))
		}
		needs = append(needs, publish(what, "$JS.ACK."+stream+".>", "$JS.ACK."+stream+"."+consumer+".1.1.1.1.1"))
	}
	return needs
}

// sample is a subject that a pattern takes in.
func sample(pattern string) string {
	return strings.ReplaceAll(strings.ReplaceAll(pattern, "*", anything), ">", anything)
}

func publish(what, grant string, subjects ...string) Need {
	if len(subjects) == 0 {
		subjects = []string{grant}
	}
	return Need{Grant: grant, Subjects: subjects, For: what}
}

func subscribe(what, grant string) Need {
	return Need{Subscribe: true, Grant: grant, Subjects: []string{grant}, For: what}
}
