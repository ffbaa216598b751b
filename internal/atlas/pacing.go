package atlas

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"rekey/internal/jobs"
)

const (
	// silentPause is how long a bucket is paused by a rate limit that does not say how long:
	// as long as the first backoff of a job.
	silentPause = time.Second
	// announceTimeout bounds telling the other workers of a pause. The attempt waits for it.
	announceTimeout = 2 * time.Second
	// watchPause is how long to wait before watching again when the store has let go of us.
	watchPause = time.Second
	// maxBucketKey bounds the keys that are believed of others, in bytes.
	maxBucketKey = 256
)

// PauseStore shares the pauses of rate buckets between workers.
type PauseStore interface {
	// Announce tells the other workers that a bucket is paused. The bucket is made of letters,
	// digits and -_./= and names no secret.
	Announce(ctx context.Context, bucket string, until time.Time) error
	// Watch hands over the pauses that are known and those that are announced, until ctx ends.
	// It may hand over those of this worker, and any of them several times.
	Watch(ctx context.Context, apply func(bucket string, until time.Time)) error
}

// endpointSet is a set of endpoints that share rate buckets. With the scope, it is what the
// vendor calls an endpoint set id.
type endpointSet string

// The endpoint sets, as the vendor documents them (Atlas Administration API rate limits; the
// OAuth endpoints name themselves in their refusals).
const (
	setOAuthToken    endpointSet = "oauth_token"
	setOAuthRevoke   endpointSet = "oauth_revoke"
	setFederation    endpointSet = "federation_account"
	setFederationOrg endpointSet = "federation_org"
	setX509          endpointSet = "x509_project"
)

// Buckets lists the names under which the Recorder hears of rate buckets. They name sets of
// buckets, not single ones: ids would have no end.
func Buckets() []string {
	return jobs.Names([]endpointSet{setOAuthToken, setOAuthRevoke, setFederation, setFederationOrg, setX509})
}

// scope tells whose bucket of an endpoint set a job draws on.
type scope func(a *account, job jobs.Job) string

// byAccount is the scope of the caller. It also stands for that of an organization which the
// job does not name.
func byAccount(a *account, _ jobs.Job) string { return a.identity() }

// byParam is the scope of the project or organization that a parameter names.
func byParam(name string) scope {
	return func(_ *account, job jobs.Job) string { return job.Params.Get(name) }
}

// bucket is one rate bucket of the API.
type bucket struct {
	set    endpointSet
	entity string // Whose it is within the scope of the set.
}

// key is the name of the bucket among all workers.
func (b bucket) key() string {
	entity := strings.Map(func(r rune) rune {
		if isKeyRune(r) {
			return r
		}
		return '_' // Two that become one share their pauses, which is safe.
	}, b.entity)
	return string(b.set) + "/" + entity
}

func isKeyRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.=", r)
}

// pacer knows when each bucket may be drawn on, from what this worker and the others were told.
type pacer struct {
	store    PauseStore // Nil: this worker is alone.
	maxPause time.Duration
	recorder Recorder
	log      *zap.Logger
	// silenced says that the log already has that the store fails.
	silenced atomic.Bool

	mu     sync.Mutex // Guards pauses.
	pauses map[string]time.Time
}

func newPacer(store PauseStore, maxPause time.Duration, recorder Recorder, log *zap.Logger) *pacer {
	return &pacer{store: store, maxPause: maxPause, recorder: recorder, log: log, pauses: map[string]time.Time{}}
}

// until returns the end of the bucket's pause, or the zero time when it is not paused.
func (p *pacer) until(b bucket, now time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until := p.pauses[b.key()]; until.After(now) {
		return until
	}
	return time.Time{}
}

// pause keeps this worker off the bucket at once, and then the others.
func (p *pacer) pause(ctx context.Context, b bucket, until time.Time) {
	key := b.key()
	if !p.lengthen(key, until) || p.store == nil {
		return
	}
	// What the API said holds for all, although this attempt may be over.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), announceTimeout)
	defer cancel()
	if err := p.store.Announce(ctx, key, until); err != nil {
		p.complain("announcing a pause to the other workers", err)
		return
	}
	p.silenced.Store(false)
}

// lengthen notes a pause, unless a longer one is known or it is over already. It forgets
// those that are over.
func (p *pacer) lengthen(key string, until time.Time) bool {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, end := range p.pauses {
		if !end.After(now) {
			delete(p.pauses, key)
		}
	}
	if !until.After(now) || !until.After(p.pauses[key]) {
		return false
	}
	p.pauses[key] = until
	return true
}

// heard notes a pause that another worker announced. Its clock may be wrong, so that no
// pause is believed to be longer than what we believe of the API.
func (p *pacer) heard(key string, until time.Time) {
	bad := func(r rune) bool { return !isKeyRune(r) && r != '/' }
	if key == "" || len(key) > maxBucketKey || strings.ContainsFunc(key, bad) {
		return
	}
	if latest := time.Now().Add(p.maxPause); until.After(latest) {
		until = latest
	}
	p.lengthen(key, until)
}

// run listens to the other workers until ctx ends. While the store cannot be reached, this
// worker goes by what it is told itself.
func (p *pacer) run(ctx context.Context) error {
	if p.store == nil {
		<-ctx.Done()
		return nil
	}
	for {
		err := p.store.Watch(ctx, p.heard)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // The end of ctx is the end of the job, whatever Watch says to it.
		}
		if err != nil {
			p.complain("listening to the other workers' pauses", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchPause):
		}
	}
}

// complain logs that the store fails, once until a pause was announced again.
func (p *pacer) complain(doing string, err error) {
	if !p.silenced.Swap(true) {
		p.log.Warn("pauses of rate buckets are not shared; each worker obeys its own", zap.Error(fmt.Errorf("%s: %w", doing, err)))
	}
}

// observe shows what the API says is left in the bucket.
func (p *pacer) observe(b bucket, header http.Header) {
	left, err := strconv.ParseUint(strings.TrimSpace(header.Get("RateLimit-Remaining")), 10, 32)
	if err == nil {
		p.recorder.BucketTokens(string(b.set), float64(left))
	}
}

// Until returns the moment before which the API does not want the job's call, or one that has
// passed or is zero: then it may be made now.
func (c *Client) Until(job jobs.Job) time.Time {
	a, ok := c.account(job.Account)
	op, known := c.operations[job.Kind]
	if !ok || !known {
		return time.Time{} // Revoke says what is wrong.
	}
	now := time.Now()
	until := c.pacer.until(op.bucket(a, job), now)
	// The request for a token draws on another bucket, but only a call without one has to wait for it.
	if a.isService() && job.Kind != jobs.TokenRevoke && a.tokens.empty(now) {
		if first := c.pacer.until(tokenEndpoint(a).bucket, now); first.After(until) {
			until = first
		}
	}
	return until
}
