package sandbox

import "time"

// maxRequests is how many requests the journal keeps.
const maxRequests = 10_000

// maxPath is how much of a path the journal keeps, in bytes.
const maxPath = 512

// Ways to authenticate, as Request.Auth names them.
const (
	AuthNone   = "none"
	AuthBasic  = "basic"
	AuthBearer = "bearer"
	AuthDigest = "digest"
)

// Request is one call that the sandbox received. It holds no body, no query and no credentials.
type Request struct {
	// ID is what the answer had in X-Request-Id.
	ID string `json:"id"`
	// At is when the request arrived.
	At time.Time `json:"at"`
	// Operation is one of the Operation constants.
	Operation string `json:"operation"`
	Method    string `json:"method"`
	// Path is the path, cut at 512 bytes.
	Path string `json:"path"`
	// Status is what was answered: 0 while there is no answer, and when a fault withheld it.
	Status int `json:"status"`
	// Auth is how the caller tried to authenticate: none, basic, bearer or digest. Any other
	// scheme counts as none.
	Auth string `json:"auth"`
	// Account is the client id or public key, once it has proved to be genuine.
	Account string `json:"account,omitempty"`
	// Fault is the kind of the fault that applied, if any.
	Fault string `json:"fault,omitempty"`
}

// journal holds the last requests in the order of arrival. The lock of the Sandbox guards it and
// the requests that it points to.
type journal struct {
	requests []*Request
	count    int
}

func (j *journal) add(r *Request) {
	j.count++
	// Twice the limit is held at most, so that moving the rest happens once in maxRequests times.
	if len(j.requests) == 2*maxRequests {
		j.requests = append(make([]*Request, 0, 2*maxRequests), j.requests[maxRequests:]...)
	}
	j.requests = append(j.requests, r)
}

// Requests returns the last 10,000 requests to the API in the order of arrival. It leaves out those
// to /sandbox/.
func (s *Sandbox) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.journal.requests[max(0, len(s.journal.requests)-maxRequests):]
	requests := make([]Request, len(last))
	for i, r := range last {
		requests[i] = *r
	}
	return requests
}
