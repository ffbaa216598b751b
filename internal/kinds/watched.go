package kinds

import (
	"cmp"
	"errors"
	"regexp"
	"time"
)

// What ends by itself, as the status of the workers names it.
const (
	EndingSecret      = "secret"      // Of an account of the workers themselves.
	EndingCertificate = "certificate" // Of a database user, which Atlas made.
	EndingMCPSecret   = "mcp_secret"  // Of an MCP configuration.
)

// Watched is what ends by itself and is not rotated: the certificates that Atlas made for a database user, or the secrets of an MCP configuration.
type Watched struct {
	// OrgID or ProjectID is where it is. Database users are in projects.
	OrgID, ProjectID string
	// Username is the name of the database user. Empty: it is about the secrets of MCPConfigID.
	Username    string
	MCPConfigID string
}

var mcpConfigID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// MCPConfigID is the id of an MCP configuration, whose form is not documented ("Unique identifier of the MCP configuration").
var MCPConfigID = Shape{Pattern: mcpConfigID.String(), Check: func(value string) string {
	if !mcpConfigID.MatchString(value) {
		return "must be 1 to 64 letters, digits, - and _"
	}
	return ""
}}

// The lists of what is watched. Certificates that have expired are left out by the API. Of the secrets of MCP configurations, up to two each,
// the sources are ListOrgMcpSecrets and ListGroupMcpSecrets of mongodb/atlas-sdk-go (admin/api_remote_mcp_configurations.go) and
// PaginatedMcpConfigSecret, whose results are secrets of the configuration's service account.
var (
	managedCertificates = Resource{Path: "/api/atlas/v2/groups/{project_id}/databaseUsers/{username}/certs", Version: "2023-01-01"}
	orgMCPSecrets       = Resource{Path: "/api/atlas/v2/orgs/{org_id}/mcpConfigs/{mcp_config_id}/secrets", Version: "2025-03-12"}
	projectMCPSecrets   = Resource{Path: "/api/atlas/v2/groups/{project_id}/mcpConfigs/{mcp_config_id}/secrets", Version: "2025-03-12"}
)

// Of is what ends: EndingCertificate or EndingMCPSecret.
func (w Watched) Of() string {
	if w.MCPConfigID != "" {
		return EndingMCPSecret
	}
	return EndingCertificate
}

// Entity is the organization or project where it is.
func (w Watched) Entity() string { return cmp.Or(w.ProjectID, w.OrgID) }

// List is where the API lists it, and which endpoint set that is of: for an MCP configuration that of service accounts, which is inferred.
func (w Watched) List() (Resource, Set) {
	r, set := managedCertificates, projectX509
	switch {
	case w.MCPConfigID != "" && w.ProjectID != "":
		r, set = projectMCPSecrets, projectServiceAccounts
	case w.MCPConfigID != "":
		r, set = orgMCPSecrets, orgServiceAccounts
	}
	found := map[string]string{ParamOrg: w.OrgID, ParamProject: w.ProjectID, paramUserName: w.Username, "mcp_config_id": w.MCPConfigID}
	r.Path = r.Fill(func(name string) string { return found[name] })
	return r, set
}

// Ends reads a page of that list: when each certificate or secret in it ends.
func (w Watched) Ends(document []byte) ([]time.Time, error) {
	page, ok := decoded[struct {
		Results *[]struct {
			NotAfter  time.Time `json:"notAfter"`  // Of a certificate.
			ExpiresAt time.Time `json:"expiresAt"` // Of a secret.
		} `json:"results"`
	}](document)
	if !ok || page.Results == nil {
		return nil, errors.New("the list of certificates or secrets cannot be read")
	}
	var ends []time.Time
	for _, one := range *page.Results {
		at := one.NotAfter
		if w.MCPConfigID != "" {
			at = one.ExpiresAt
		}
		if at.IsZero() {
			return nil, errors.New("the API does not say when one of what it lists ends")
		}
		ends = append(ends, at)
	}
	return ends, nil
}
