package sandbox

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// vendorType begins the media types of the Admin API. The version and "+json" follow.
const vendorType = "application/vnd.atlas."

// admin answers a call of the Admin API: who calls, how often, which version, and then the
// operation itself.
func (s *Sandbox) admin(c *call) answer {
	if refusal, refused := s.authenticate(c); refused {
		return refusal
	}
	if _, foreign := s.lie(c, FaultForeign); foreign {
		return c.foreign()
	}
	if c.route.bucket != nil {
		t := s.buckets.take(c.route.bucket(c), c.route.entity(c), c.at)
		c.header.Set("RateLimit-Limit", strconv.Itoa(t.limit.Capacity))
		c.header.Set("RateLimit-Remaining", strconv.Itoa(t.remaining))
		if !t.ok {
			return c.rateLimited(t.limit, wholeSeconds(t.wait))
		}
	}
	if len(c.route.versions) > 0 {
		var ok bool
		if c.version, ok = c.route.version(acceptedDate(c.request.Header)); !ok {
			return c.refuse(http.StatusNotAcceptable, "INVALID_VERSION_DATE", "Invalid accept header or version date.")
		}
	}
	for param := range idParams() {
		if id, there := c.params[param]; there && !validID(id) {
			return c.malformedID(param, id)
		}
	}
	if id, there := c.params[paramClient]; there && !validClientID(id) {
		return c.refuse(http.StatusBadRequest, "INVALID_CLIENT_ID", "An invalid service account client ID was specified.")
	}
	return c.route.act(c)
}

// authenticate finds out whose call it is.
func (s *Sandbox) authenticate(c *call) (answer, bool) {
	switch authScheme(c.request) {
	case AuthBearer:
		_, value, _ := strings.Cut(c.request.Header.Get("Authorization"), " ")
		owner := s.tokens.owner(strings.TrimSpace(value), c.at)
		if owner == "" {
			// RFC 6750 section 3.1.
			c.header.Set("WWW-Authenticate", `Bearer realm="`+realm+`", error="invalid_token"`)
			return c.notAuthorized(), true
		}
		c.account = s.world.accounts[owner]
		return answer{}, false
	case AuthDigest:
		return s.digest(c)
	default:
		return s.challenge(c, false), true
	}
}

// acceptedDate returns the version date in the Accept header, or "" when there is none.
func acceptedDate(header http.Header) string {
	for mediaType := range strings.SplitSeq(strings.Join(header.Values("Accept"), ","), ",") {
		mediaType, _, _ = strings.Cut(mediaType, ";")
		date, vendor := strings.CutPrefix(strings.ToLower(strings.TrimSpace(mediaType)), vendorType)
		date, isJSON := strings.CutSuffix(date, "+json")
		if _, err := time.Parse(time.DateOnly, date); vendor && isJSON && err == nil {
			return date
		}
	}
	return ""
}

// rateLimited answers that a bucket is empty for so many seconds.
func (c *call) rateLimited(limit Bucket, seconds int) answer {
	c.header.Set("Retry-After", strconv.Itoa(seconds))
	path := strings.TrimPrefix(c.entry.Path, "/")
	every := wholeSeconds(limit.Every)
	detail := fmt.Sprintf("Rate limit exceeded for %s. Please retry after %d seconds. Request capacity: %d. Refill rate: %d per %d seconds.",
		path, seconds, limit.Capacity, limit.Refill, every)
	return c.refuse(http.StatusTooManyRequests, codeRateLimited, detail, path, seconds, limit.Capacity, limit.Refill, every)
}

// malformedID answers that an id is not 24 hexadecimal digits.
func (c *call) malformedID(param, id string) answer {
	what := idParams()[param]
	code := "INVALID_" + strings.ToUpper(strings.ReplaceAll(what, " ", "_")) + "_ID"
	if param == paramOrg {
		code = "INVALID_ORG_ID"
	}
	id = id[:min(len(id), maxPath)]
	return c.refuse(http.StatusBadRequest, code, fmt.Sprintf("An invalid %s ID %s was specified.", what, id), id)
}

// idParams are the parameters that are 24 hexadecimal digits, with what they name.
func idParams() map[string]string {
	return map[string]string{
		paramFederation: "federation settings", paramOrg: "organization", paramProject: "group", paramIDP: "identity provider",
		paramRoleMapping: "role mapping", paramSecret: "secret", paramAPIKey: "API user", paramUserID: "user",
	}
}

// missing answers that there is no such thing as a path names.
func (c *call) missing(what, id string) answer {
	return c.refuse(http.StatusNotFound, codeNotFound, fmt.Sprintf("Cannot find resource %s %s.", what, id), id)
}

// missingProject answers that there is no such project.
func (c *call) missingProject(id string) answer {
	return c.refuse(http.StatusNotFound, "GROUP_NOT_FOUND", fmt.Sprintf("No group with ID %s exists.", id), id)
}

// unauthorized answers that the caller lacks a role. Atlas sends 401 for it, not 403.
func (c *call) unauthorized() answer {
	return c.refuse(http.StatusUnauthorized, "USER_UNAUTHORIZED", "Current user is not authorized to perform this action.")
}

// Error codes of the Admin API that more than one place needs.
const (
	codeNotFound    = "RESOURCE_NOT_FOUND"
	codeRateLimited = "RATE_LIMITED_TOKEN_BUCKET"
)

// answer is what a call comes to, before anything is written.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// adminError is an error of the Admin API, as the vendor documents it. A refused
// authentication has no code and no parameters.
type adminError struct {
	Error      int    `json:"error"`
	ErrorCode  string `json:"errorCode,omitempty"`
	Reason     string `json:"reason"`
	Detail     string `json:"detail"`
	Parameters []any  `json:"parameters,omitzero"`
}

// oauthError is an error of RFC 6749 section 5.2.
type oauthError struct {
	Error            string `json:"error"`
	ErrorDescription string `json:"error_description"`
}

// reply answers with a JSON document. Marshalling cannot fail: all documents are our own types.
func (c *call) reply(status int, contentType string, document any) answer {
	body, err := json.Marshal(document)
	if err != nil {
		panic("sandbox: a document of its own is not JSON: " + err.Error())
	}
	header := maps.Clone(c.header)
	header.Set("Content-Type", contentType)
	return answer{status: status, header: header, body: body}
}

// empty answers without a body.
func (c *call) empty(status int) answer {
	return answer{status: status, header: maps.Clone(c.header)}
}

// document answers the Admin API with a document of the resource version that was asked for.
func (c *call) document(status int, document any) answer {
	contentType := "application/json"
	if c.version != "" {
		contentType = vendorType + c.version + "+json;charset=utf-8"
	}
	return c.reply(status, contentType, document)
}

// refuse answers with an error of the Admin API.
func (c *call) refuse(status int, code, detail string, parameters ...any) answer {
	if parameters == nil && code != "" {
		parameters = []any{}
	}
	return c.reply(status, "application/json", adminError{
		Error: status, ErrorCode: code, Reason: http.StatusText(status), Detail: detail, Parameters: parameters,
	})
}

// refuseOAuth answers with an error of the OAuth endpoints.
func (c *call) refuseOAuth(status int, code, description string) answer {
	a := c.reply(status, "application/json", oauthError{Error: code, ErrorDescription: description})
	a.header.Set("Cache-Control", "no-store")
	return a
}

// write sends the answer with the headers that every answer has.
func (a answer) write(w http.ResponseWriter, c *call) {
	a.writeHeader(w, c)
	// An error means that the caller is gone. No client is left to answer.
	_, _ = w.Write(a.body)
}

// writeHeader sends everything but the body. The length is that of the whole body, so that a
// body that is cut is known to be.
func (a answer) writeHeader(w http.ResponseWriter, c *call) {
	maps.Copy(w.Header(), a.header)
	w.Header().Set("X-Request-Id", c.id)
	if a.status != http.StatusNoContent && a.status != http.StatusNotModified {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
}

// Sizes of pages of lists.
const (
	defaultPageSize = 100
	maxPageSize     = 500
)

// page answers with the part of a list that the query asks for: itemsPerPage and pageNum, from 1.
func page[T any](c *call, all []T) answer {
	size, sizeOK := c.queryCount("itemsPerPage", defaultPageSize, maxPageSize)
	number, numberOK := c.queryCount("pageNum", 1, 1<<20)
	if !sizeOK || !numberOK {
		return c.refuse(http.StatusBadRequest, "INVALID_QUERY_PARAMETER",
			fmt.Sprintf("itemsPerPage must be 1 to %d, and pageNum at least 1.", maxPageSize))
	}
	begin := min((number-1)*size, len(all))
	results := append([]T{}, all[begin:min(begin+size, len(all))]...)
	total := len(all)
	count := &total
	if c.request.URL.Query().Get("includeCount") == "false" {
		count = nil
	}
	return c.document(http.StatusOK, struct {
		Results    []T  `json:"results"`
		TotalCount *int `json:"totalCount,omitempty"`
	}{results, count})
}

// queryCount returns a number of the query, and false when it is not one from 1 to most.
func (c *call) queryCount(name string, usual, most int) (int, bool) {
	text := c.request.URL.Query().Get(name)
	if text == "" {
		return usual, true
	}
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 1 && n <= most
}

// named is a document that says no more than which object it is.
type named struct {
	ID string `json:"id"`
}
