package bus

import (
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
)

// differences says where an existing stream is not what we would have made, as far as
// our promises depend on it, and what that means for them.
func differences(want, have jetstream.StreamConfig) []string {
	var list []string
	differ := func(what string, want, have any, meaning string) {
		list = append(list, fmt.Sprintf("%s is %v instead of %v: %s", what, have, want, meaning))
	}
	if !slices.Equal(want.Subjects, have.Subjects) {
		differ("subjects", want.Subjects, have.Subjects, "what is published elsewhere is not kept")
	}
	if want.Retention != have.Retention {
		differ("retention", want.Retention, have.Retention, "messages may be dropped before they are worked, or stay behind")
	}
	if want.Discard != have.Discard {
		differ("discard policy", want.Discard, have.Discard, "a full stream drops its oldest messages, worked or not")
	}
	if want.MaxAge != have.MaxAge {
		differ("max age", want.MaxAge, have.MaxAge, "messages are dropped at another age, worked or not")
	}
	if want.Duplicates == shortestWindow && have.Duplicates > want.Duplicates {
		differ("duplicate window", want.Duplicates, have.Duplicates,
			"within it, the stream drops an event whose Nats-Msg-Id an earlier one had, from any publisher")
	}
	if have.MaxMsgs > 0 || have.MaxBytes > 0 || have.MaxMsgSize > 0 {
		differ("limit (messages, bytes, bytes of one)", "none", []int64{have.MaxMsgs, have.MaxBytes, int64(have.MaxMsgSize)},
			"publishers are refused beyond it")
	}
	if have.MaxMsgsPerSubject > 0 {
		differ("messages per subject", "unlimited", have.MaxMsgsPerSubject, "messages beyond it replace older ones, worked or not")
	}
	return append(list, weaknesses(have, want.Replicas)...)
}

// weaknesses says where a stream or the stream of a bucket could lose what it has acknowledged.
func weaknesses(have jetstream.StreamConfig, replicas int) []string {
	var list []string
	if have.Storage != jetstream.FileStorage {
		list = append(list, fmt.Sprintf("storage is %v instead of %v: a restart of the server loses what it acknowledged", have.Storage, jetstream.FileStorage))
	}
	if have.Replicas < replicas {
		list = append(list, fmt.Sprintf("replicas is %d instead of %d: fewer lost servers lose what was acknowledged", have.Replicas, replicas))
	}
	return list
}
