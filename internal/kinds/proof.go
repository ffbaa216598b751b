package kinds

import "time"

// Proof declares how the API shows that the target of a kind is dead.
type Proof struct {
	// Checks are the reads. The target is dead when every one says so, and alive when one says so. Empty: no read can show it.
	Checks []Check
	// Meaning reads, before the call, what the target is beyond its id, such as the group of a role mapping: what is put back has
	// another id. The document is that of Form.Read. Nil: the id says it all.
	Meaning func(document []byte) (map[string]string, error)
	// Events are the types of the events that the API's own log has of a success, and Restored those of its return.
	Events, Restored []string
	// Watch is how long the target is looked at after it was found dead, unless the configuration says otherwise. Zero: it cannot
	// come back, or is not put back by those who restore configuration.
	Watch time.Duration
	// Cannot says what no read shows, for the documents. Empty: the checks show all.
	Cannot string
	// Restorers says, for a person, what puts the target back, and how to stop it there.
	Restorers string
}

// Caller is as whom a check reads.
type Caller string

// The callers.
const (
	AsAccount Caller = ""       // The job's account.
	AsToken   Caller = "token"  // With the leaked bearer token itself, which must be refused.
	AsClient  Caller = "client" // With the leaked client secret itself: it must get no token.
)

// Check is one read, and what it shows.
type Check struct {
	// Name is what evidence calls the check, as in role_mapping or clusters.
	Name string
	Resource
	// List says that the resource has pages, which are all read.
	List bool
	As   Caller
	// Set is the endpoint set whose rate bucket the read draws on.
	Set Set
	// Role is what reading takes.
	Role Role
	// Judge says what an answer shows. It is asked for the statuses 200, 401, 403 and 404; others are failures of the read.
	Judge func(Seen) Finding
}

// Seen is the answer to a check, with what is known of the job.
type Seen struct {
	Status int
	// Document is the body of a 200, and Elements what a list has instead.
	Document []byte
	Elements [][]byte
	// Value returns a parameter, or an id that was found for the target. Secrets are not among them.
	Value Values
	// Meaning is what Proof.Meaning read before the call; nil where that read failed.
	Meaning map[string]string
	// Notes are those of earlier looks at the same check.
	Notes map[string]string
	// Changed is when the API answered the call with success.
	Changed time.Time
}

// Finding is what one check shows.
type Finding struct {
	Shows Shows
	// Says is that for a person, without a secret, as in "404, and the federation answers".
	Says string
	// Notes are for later looks, such as the clusters that were seen to restart. Nil: those from before.
	Notes map[string]string
	// BackAs are the ids of an object with the target's meaning, by the names of parameters.
	BackAs map[string]string
}

// Shows is what an answer means for the target.
type Shows string

// What an answer can mean.
const (
	ShowsDead    Shows = "dead"    // The target is dead.
	ShowsAlive   Shows = "alive"   // The target works.
	ShowsPending Shows = "pending" // The change is under way: a later look shows more.
	ShowsNothing Shows = "nothing" // The answer proves neither, as a missing role does.
)
