package kinds

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"net/http"
	"slices"
	"strings"
)

// X509Disable disables customer-managed X.509 authentication.
const X509Disable Name = "x509.disable"

// projectX509 is the endpoint set of a project's user security.
var projectX509 = Set{Name: "x509_project", Scope: ScopeProject, Seen: 1200}

var _ = Declare(Kind{
	Name:     X509Disable,
	Order:    3,
	Does:     "disables customer-managed X.509",
	Reach:    "the databases restart one by one",
	Preview:  []Look{lookAtProject, lookAtClusters, lookAtFlexClusters, lookAtCustomerX509},
	Params:   []Param{{Name: ParamProject, Shape: ID}},
	Examples: []string{"project_id=5ec0000000000000000000f1"},
	Forms: []Form{
		{
			API: "v1.0", Target: "project/{project_id}",
			Change: Resource{Path: "/api/atlas/v1.0/groups/{project_id}/userSecurity/customerX509"},
			Read:   Resource{Path: "/api/atlas/v1.0/groups/{project_id}/userSecurity"},
			Set:    projectX509, Role: ProjectOwner,
		},
		{
			Target: "project/{project_id}",
			Change: Resource{Path: "/api/atlas/v2/groups/{project_id}/userSecurity/customerX509", Version: "2023-01-01"},
			Read:   Resource{Path: "/api/atlas/v2/groups/{project_id}/userSecurity", Version: "2023-01-01"},
			Set:    projectX509, Role: ProjectOwner,
		},
	},
	Proof: Proof{
		Checks: []Check{
			{Name: "user_security", Judge: withoutAuthority, Proves: "no authority (`cas`) is uploaded, or another one"},
			clustersCheck(Check{Events: []string{eventUpdateStarted, eventUpdateCompleted}, Judge: restarted, Proves: "every cluster is `IDLE` after it was seen to restart"}),
			flexCheck(Check{Events: []string{eventUpdateStarted, eventUpdateCompleted}, Judge: orNone(restarted), Proves: "the same of flex clusters, where there are some"}),
		},
		Meaning:  meaningOfX509,
		Takes:    "minutes to hours: the restart of all clusters, one node after the other",
		Events:   []string{"USER_SECURITY_SETTINGS_UPDATED"},
		Restored: []string{"USER_SECURITY_SETTINGS_UPDATED"},
		Watch:    week,
		Cannot: "A cluster that is paused takes the change when it is resumed. Another change of a cluster at the same time is taken for its " +
			"restart. A cluster that Atlas does not restart is waited for until proof.within is over, such as where the authority was gone before the call, as the " +
			"evidence says then: the restart for that may be still to come. That the event is of this type is " +
			"inferred; it does not say what was changed.",
		Restorers: "Terraform puts the authority back at the next apply, as long as customer_x509_cas has it: take it out of the configuration. The Atlas " +
			"Kubernetes operator puts back the x509CertRef of an AtlasProject at each reconcile, every 3 hours at least: take it out there, or annotate " +
			"the resource with mongodb.com/atlas-reconciliation-policy: skip.",
	},
	Call: Call{
		Method: http.MethodDelete, Updates: true,
		// 202 starts a rolling restart. The other two are not documented, and do not say that it is over.
		Success:  []int{http.StatusAccepted, http.StatusOK, http.StatusNoContent},
		Document: true,
	},
})

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

// authorityMeaning is what meaningOfX509 calls the fingerprints; empty where no authority was uploaded.
const authorityMeaning = "ca_sha256"

// ifOff is a text for where it was read that no authority was uploaded before the one call of a job, else "". That alone shows no more: an
// earlier job may have taken it away, and the restart that makes it so may be still to come.
func ifOff(s Seen, text string) string {
	if had, known := s.Meaning[authorityMeaning]; !known || had != "" || !s.OneCall {
		return ""
	}
	return text
}

// meaningOfX509 is which authorities a project trusts.
func meaningOfX509(document []byte) (map[string]string, error) {
	d, ok := decoded[security](document)
	if !ok || d.X509 == nil {
		return nil, errors.New("the document does not say which authority the project trusts")
	}
	return meaning(map[string]string{authorityMeaning: strings.Join(authorities(d.X509.CAs), " ")})
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
		return judged(ShowsDead, "200: no authority is uploaded%s", ifOff(s, ", and none was before the call"))
	}
	before := strings.Fields(s.Meaning[authorityMeaning])
	for _, one := range have {
		if len(before) == 0 || slices.Contains(before, one) {
			return judged(ShowsAlive, "200: the authority with the SHA-256 %s is uploaded", one[:16])
		}
	}
	return judged(ShowsDead, "200: another authority is uploaded, with the SHA-256 %s", have[0][:16])
}
