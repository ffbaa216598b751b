package kinds

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
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

// refusedToken judges a read with the leaked token itself.
func refusedToken(s Seen) Finding {
	ends := s.Ends.UTC().Format(time.RFC3339)
	switch {
	case s.Status == http.StatusOK:
		return judged(ShowsAlive, "200: the token works")
	case s.Status != http.StatusUnauthorized:
		return judged(ShowsNothing, "%d: that does not show whether the token works", s.Status)
	case s.Ends.IsZero():
		return judged(ShowsDead, "401: the token is refused; it does not say when it would have ended by itself, and a text that never was a token is refused, too")
	case !s.latest().Add(clockSkew).Before(s.Ends):
		return judged(ShowsNothing, "401, and the token says that it ends at %s: that does not show that it was revoked", ends)
	}
	return judged(ShowsDead, "401: the token is refused before %s, when it would have ended by itself as it says; a text that never was a token is refused, too", ends)
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

// withoutSecret judges the document of a service account: the secret must not be listed, or have expired by both clocks.
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
	case !held.ExpiresAt.IsZero() && !held.ExpiresAt.After(s.earliest()):
		return judged(ShowsDead, "200: the secret is still listed; it expired at %s", held.ExpiresAt.UTC().Format(time.RFC3339))
	}
	return judged(ShowsAlive, "200: the service account has the secret")
}
