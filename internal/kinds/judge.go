package kinds

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// judged is a finding with its text.
func judged(shows Shows, format string, args ...any) Finding {
	return Finding{Shows: shows, Says: fmt.Sprintf(format, args...)}
}

// unread is what a refused or useless answer shows.
func unread(s Seen) Finding {
	switch s.Status {
	case http.StatusOK:
		return judged(ShowsNothing, "200, and the document cannot be read")
	case http.StatusNotFound:
		return judged(ShowsNothing, "404: what was to be read is not there")
	}
	return judged(ShowsNothing, "%d: the account may not read it", s.Status)
}

// elsewhere are the codes of a 404 that speaks of the place where the target is, or of the caller, and not of the target.
var elsewhere = []string{"GROUP_NOT_FOUND", "ORG_NOT_FOUND", "FEDERATION_SETTINGS_NOT_FOUND", "NOT_IN_GROUP", "NOT_IN_ORG"}

// gone judges a read of the target itself.
func gone(what string) func(Seen) Finding {
	return func(s Seen) Finding {
		switch {
		case s.Status == http.StatusNotFound && slices.Contains(elsewhere, s.Code):
			return judged(ShowsNothing, "404 %s: the account does not see where the %s is", s.Code, what)
		case s.Status == http.StatusNotFound:
			return judged(ShowsDead, "404: the %s is gone", what)
		case s.Status == http.StatusOK:
			return judged(ShowsAlive, "200: the %s is there", what)
		}
		return unread(s)
	}
}

// decoded reads a document. It is false for one that is not of the documented form.
func decoded[T any](document []byte) (value T, ok bool) {
	return value, json.Unmarshal(document, &value) == nil
}

// withoutMeaning judges a list in which nothing may mean what the target did. alike returns the id of an element that does.
func withoutMeaning(what, param string, alike func(element []byte, meaning map[string]string) (id string, ok bool)) func(Seen) Finding {
	return func(s Seen) Finding {
		if s.Status != http.StatusOK {
			return unread(s)
		}
		for _, element := range s.Elements {
			one, ok := decoded[struct {
				ID string `json:"id"`
			}](element)
			if !ok || one.ID == "" {
				return judged(ShowsNothing, "200, and the list cannot be read")
			}
			if one.ID == s.Value(param) {
				return judged(ShowsAlive, "200: the %s is in the list", what)
			}
			if len(s.Meaning) == 0 {
				continue
			}
			if id, is := alike(element, s.Meaning); is {
				if !IsID(id) {
					return judged(ShowsAlive, "200: one %s means the same; its id is not of the documented form", what)
				}
				f := judged(ShowsAlive, "200: %s %s means the same", what, id)
				f.BackAs = map[string]string{param: id}
				return f
			}
		}
		if len(s.Meaning) == 0 {
			return judged(ShowsDead, "200: none of %d has its id; what it meant is not known", len(s.Elements))
		}
		return judged(ShowsDead, "200: none of %d means the same", len(s.Elements))
	}
}

// mostMeaning bounds what is remembered of a target, in bytes of each value. What is cut off could not be compared.
const mostMeaning = 16 << 10

// meaning is what is remembered of a target before the call.
func meaning(of map[string]string) (map[string]string, error) {
	for name, value := range of {
		if len(value) > mostMeaning {
			return nil, fmt.Errorf("its %s has %d bytes, which is too much to remember", name, len(value))
		}
	}
	return of, nil
}

// idp is an identity provider, as far as it says whom it lets in.
type idp struct {
	ID       string `json:"id"`
	Issuer   string `json:"issuerUri"`
	Audience string `json:"audience"`
	ClientID string `json:"clientId"`
	Protocol string `json:"protocol"`
}

// meaningOfIDP is whose tokens an identity provider lets in.
func meaningOfIDP(document []byte) (map[string]string, error) {
	d, ok := decoded[idp](document)
	if !ok || d.Issuer == "" {
		return nil, errors.New("the identity provider does not say its issuer")
	}
	return meaning(map[string]string{"issuer": d.Issuer, "audience": d.Audience, "client_id": d.ClientID, "protocol": d.Protocol})
}

// sameIDP reports whether an identity provider lets in the same tokens: of the same issuer, for the same audience or client.
func sameIDP(element []byte, meaning map[string]string) (string, bool) {
	d, ok := decoded[idp](element)
	same := ok && d.Issuer == meaning["issuer"] && d.Protocol == meaning["protocol"]
	if meaning["audience"] != "" || meaning["client_id"] != "" {
		same = same && (d.Audience != "" && d.Audience == meaning["audience"] || d.ClientID != "" && d.ClientID == meaning["client_id"])
	}
	return d.ID, same
}

// mapping is a role mapping.
type mapping struct {
	ID          string `json:"id"`
	Group       string `json:"externalGroupName"`
	Assignments []struct {
		Org     string `json:"orgId"`
		Project string `json:"groupId"`
		Role    string `json:"role"`
	} `json:"roleAssignments"`
}

// grants are what a role mapping gives, in an order of their own.
func (m mapping) grants() []string {
	var list []string
	for _, a := range m.Assignments {
		where := "org/" + a.Org
		if a.Project != "" {
			where = "project/" + a.Project
		}
		list = append(list, where+" "+a.Role)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// meaningOfMapping is whom a role mapping gives what.
func meaningOfMapping(document []byte) (map[string]string, error) {
	m, ok := decoded[mapping](document)
	if !ok || m.Group == "" {
		return nil, errors.New("the role mapping does not say its group")
	}
	return meaning(map[string]string{"group": m.Group, "grants": strings.Join(m.grants(), ", ")})
}

// sameMapping reports whether a role mapping gives the same group all of the same grants. It may give more.
func sameMapping(element []byte, meaning map[string]string) (string, bool) {
	m, ok := decoded[mapping](element)
	if !ok || m.Group != meaning["group"] {
		return "", false
	}
	have := m.grants()
	for grant := range strings.SplitSeq(meaning["grants"], ", ") {
		if grant != "" && !slices.Contains(have, grant) {
			return "", false
		}
	}
	return m.ID, true
}

// security is the part of a project's user security that is looked at.
type security struct {
	X509 *struct {
		CAs string `json:"cas"`
	} `json:"customerX509"`
}

// authorities are the fingerprints of the certificates in a text of PEM, or that of the text where it has none.
func authorities(text string) []string {
	var list []string
	fingerprint := func(data []byte) {
		sum := sha256.Sum256(data)
		list = append(list, hex.EncodeToString(sum[:]))
	}
	for rest := []byte(text); ; {
		block, after := pem.Decode(rest)
		if block == nil {
			break
		}
		fingerprint(block.Bytes)
		rest = after
	}
	if text = strings.TrimSpace(text); len(list) == 0 && text != "" {
		fingerprint([]byte(text))
	}
	return list
}

// meaningOfX509 is which authorities a project trusts.
func meaningOfX509(document []byte) (map[string]string, error) {
	d, ok := decoded[security](document)
	if !ok || d.X509 == nil {
		return nil, errors.New("the document does not say which authority the project trusts")
	}
	return meaning(map[string]string{"ca_sha256": strings.Join(authorities(d.X509.CAs), " ")})
}

// withoutAuthority judges a project's user security. Another authority than the one that was disabled is another matter.
func withoutAuthority(s Seen) Finding {
	if s.Status != http.StatusOK {
		return unread(s)
	}
	d, ok := decoded[security](s.Document)
	if !ok || d.X509 == nil {
		return unread(s)
	}
	have := authorities(d.X509.CAs)
	if len(have) == 0 {
		return judged(ShowsDead, "200: no authority is uploaded")
	}
	before := strings.Fields(s.Meaning["ca_sha256"])
	for _, one := range have {
		if len(before) == 0 || slices.Contains(before, one) {
			return judged(ShowsAlive, "200: the authority with the SHA-256 %s is uploaded", one[:16])
		}
	}
	return judged(ShowsDead, "200: another authority is uploaded, with the SHA-256 %s", have[0][:16])
}

// cluster is a database of a project.
type cluster struct {
	Name   string `json:"name"`
	State  string `json:"stateName"`
	Paused bool   `json:"paused"`
}

// Names of clusters and of their states, which become a part of evidence.
var (
	clusterName = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)
	stateName   = regexp.MustCompile(`^[A-Z_]{1,32}$`)
)

// What the log says of a cluster's restart.
const (
	eventUpdateStarted   = "CLUSTER_UPDATE_STARTED"
	eventUpdateCompleted = "CLUSTER_UPDATE_COMPLETED"
)

// clockSkew is how far the clocks of the API and of the worker may be apart.
const clockSkew = 5 * time.Second

// began is the note of a cluster that was seen to restart.
const began = "began"

// restarted judges a list of clusters: each must be IDLE after it was seen to restart, by its state or in the log, so that a restart
// that has not begun does not count as over. A paused cluster does not restart.
func restarted(s Seen) Finding {
	if s.Status != http.StatusOK {
		return unread(s)
	}
	notes := maps.Clone(s.Notes)
	if notes == nil {
		notes = map[string]string{}
	}
	for _, e := range s.Log {
		if (e.Type == eventUpdateStarted || e.Type == eventUpdateCompleted) && clusterName.MatchString(e.Cluster) && !e.At.Before(s.Changed.Add(-clockSkew).Truncate(time.Second)) && !e.At.After(s.At.Add(clockSkew)) {
			notes[e.Cluster] = began
		}
	}
	var waiting, restarting []string
	for _, element := range s.Elements {
		c, ok := decoded[cluster](element)
		switch {
		case !ok || !clusterName.MatchString(c.Name) || !stateName.MatchString(c.State):
			return judged(ShowsNothing, "200, and the list of clusters cannot be read")
		case c.Paused:
		case c.State != "IDLE":
			notes[c.Name] = began
			restarting = append(restarting, c.Name+" "+c.State)
		case notes[c.Name] == "":
			waiting = append(waiting, c.Name)
		}
	}
	f := judged(ShowsDead, "200: the restart of all %d clusters is over", len(s.Elements))
	switch {
	case len(restarting) > 0:
		f = judged(ShowsPending, "200: still restarting: %s", list(restarting))
	case len(waiting) > 0:
		f = judged(ShowsPending, "200: not seen to restart yet: %s", list(waiting))
	case len(s.Elements) == 0:
		f = judged(ShowsDead, "200: there are no clusters to restart")
	}
	f.Notes = notes
	return f
}

// idle judges a list of clusters: none may be busy.
func idle(s Seen) Finding {
	if s.Status != http.StatusOK {
		return unread(s)
	}
	var busy []string
	for _, element := range s.Elements {
		c, ok := decoded[cluster](element)
		if !ok || !clusterName.MatchString(c.Name) || !stateName.MatchString(c.State) {
			return judged(ShowsNothing, "200, and the list of clusters cannot be read")
		}
		if c.State != "IDLE" && !c.Paused {
			busy = append(busy, c.Name+" "+c.State)
		}
	}
	if len(busy) > 0 {
		return judged(ShowsPending, "200: not applied yet: %s", list(busy))
	}
	return judged(ShowsDead, "200: none of %d is busy", len(s.Elements))
}

// orNone judges a list that an API without such things does not have.
func orNone(judge func(Seen) Finding) func(Seen) Finding {
	return func(s Seen) Finding {
		if s.Status == http.StatusNotFound && !slices.Contains(elsewhere, s.Code) {
			return judged(ShowsDead, "404: the project has none")
		}
		return judge(s)
	}
}

// applied judges a list of clusters with their states of change: each must have applied what was changed.
func applied(then Shows, says string) func(Seen) Finding {
	return func(s Seen) Finding {
		if s.Status != http.StatusOK || len(s.Each) != len(s.Elements) {
			return unread(s)
		}
		var open []string
		for i, element := range s.Elements {
			c, ok := decoded[cluster](element)
			status, known := decoded[struct {
				Status string `json:"changeStatus"`
			}](s.Each[i])
			switch {
			case !ok || !clusterName.MatchString(c.Name):
				return judged(ShowsNothing, "200, and the list of clusters cannot be read")
			case c.Paused:
			case !known || !stateName.MatchString(status.Status):
				open = append(open, c.Name+" not known")
			case status.Status != "APPLIED":
				open = append(open, c.Name+" "+status.Status)
			}
		}
		if len(open) > 0 {
			return judged(ShowsPending, "200: not applied yet: %s", list(open))
		}
		return judged(then, "200: all %d clusters have applied it%s", len(s.Elements), says)
	}
}

// refusedToken judges a read with the leaked token itself.
func refusedToken(s Seen) Finding {
	ends := s.Ends.UTC().Format(time.RFC3339)
	switch {
	case s.Status == http.StatusOK:
		return judged(ShowsAlive, "200: the token works")
	case s.Status != http.StatusUnauthorized:
		return judged(ShowsNothing, "%d: that does not show whether the token works", s.Status)
	case s.Ends.IsZero():
		return judged(ShowsDead, "401: the token is refused; it does not say when it would have ended by itself")
	case !s.At.Add(clockSkew).Before(s.Ends):
		return judged(ShowsNothing, "401, and the token says that it ends at %s: that does not show that it was revoked", ends)
	}
	return judged(ShowsDead, "401: the token is refused before %s, when it would have ended by itself as it says", ends)
}

// refusedClient judges a request for a token with the leaked secret itself.
func refusedClient(s Seen) Finding {
	switch {
	case s.Status == http.StatusOK:
		return judged(ShowsAlive, "200: the secret gets a token")
	case s.Status == http.StatusUnauthorized && s.Code == "invalid_client":
		return judged(ShowsDead, "401 invalid_client: the secret gets no token")
	case s.Status == http.StatusForbidden && s.Code == "access_denied":
		return judged(ShowsAlive, "403 access_denied: the secret is good, and has no token left")
	}
	return judged(ShowsNothing, "%d: that does not show whether the secret works", s.Status)
}

// withoutSecret judges the document of a service account: the secret must not be listed, or have expired.
func withoutSecret(s Seen) Finding {
	if s.Status != http.StatusOK {
		f := gone("service account")(s)
		if f.Shows == ShowsDead {
			f.Says += ", and its secrets with it"
		}
		return f
	}
	d, ok := decoded[struct {
		Secrets *[]HeldSecret `json:"secrets"`
	}](s.Document)
	id := s.Value(paramSecretID)
	if !ok || d.Secrets == nil || id == "" {
		return unread(s)
	}
	held, there := Holder{Secrets: *d.Secrets}.Secret(id)
	switch {
	case !there:
		return judged(ShowsDead, "200: the service account does not have the secret")
	case !held.ExpiresAt.IsZero() && !held.ExpiresAt.After(s.At):
		return judged(ShowsDead, "200: the secret is still listed; it expired at %s", held.ExpiresAt.UTC().Format(time.RFC3339))
	}
	return judged(ShowsAlive, "200: the service account has the secret")
}
