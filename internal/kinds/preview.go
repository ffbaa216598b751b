package kinds

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Look is a read that shows a person what a job would hit.
type Look struct {
	Resource
	// About says what is read, for a look that fails, as in "clusters".
	About string
	// Facts returns what a document says.
	Facts func(document []byte) ([]Fact, error)
}

// Fact is one line of what is known of a target.
type Fact struct{ Name, Text string }

// facts reads a document of the API.
func facts[T any](of func(T) []Fact) func([]byte) ([]Fact, error) {
	return func(document []byte) ([]Fact, error) {
		var value T
		if err := json.Unmarshal(document, &value); err != nil {
			return nil, fmt.Errorf("the document cannot be read: %w", err)
		}
		return of(value), nil
	}
}

// mostListed is how many names of a list are shown.
const mostListed = 20

// list is how many things there are, with their names.
func list(names []string) string {
	shown := names[:min(len(names), mostListed)]
	text := fmt.Sprint(len(names))
	if len(shown) > 0 {
		text += ": " + strings.Join(shown, ", ")
	}
	if len(shown) < len(names) {
		text += ", …"
	}
	return text
}

// page is one page of a list, and how many there are in all.
type page[T any] struct {
	Results    []T `json:"results"`
	TotalCount int `json:"totalCount"`
}

// names lists the names of a page's elements, and says when there are more pages.
func (p page[T]) names(of func(T) string) string {
	var all []string
	for _, one := range p.Results {
		all = append(all, of(one))
	}
	text := list(all)
	if p.TotalCount > len(all) {
		text = fmt.Sprintf("%d, of which these are %s", p.TotalCount, text)
	}
	return text
}

// whole asks for as many elements as the API gives at once.
const whole = "?itemsPerPage=500"

// lookAtIDP shows whom an identity provider serves.
var lookAtIDP = Look{
	Resource: Resource{Path: pathIDP, Version: "2025-03-12"}, About: "identity provider",
	Facts: facts(func(d struct {
		Name     string `json:"displayName"`
		Protocol string `json:"protocol"`
		Type     string `json:"idpType"`
		Orgs     []struct {
			ID string `json:"orgId"`
		} `json:"associatedOrgs"`
		Domains []string `json:"associatedDomains"`
	},
	) []Fact {
		var orgs []string
		for _, o := range d.Orgs {
			orgs = append(orgs, o.ID)
		}
		return []Fact{
			{"identity provider", strings.TrimSpace(d.Name + " " + strings.Trim(d.Protocol+" "+d.Type, " "))},
			{"connected organizations", list(orgs)},
			{"domains", list(d.Domains)},
		}
	}),
}

// lookAtProject shows what a project is called, and lookAtClusters and lookAtFlexClusters which databases it has.
var (
	lookAtProject = Look{
		Resource: Resource{Path: "/api/atlas/v2/groups/{project_id}", Version: "2023-01-01"}, About: "project",
		Facts: facts(func(d struct {
			Name string `json:"name"`
			Org  string `json:"orgId"`
		},
		) []Fact {
			return []Fact{{"project", d.Name}, {"organization", d.Org}}
		}),
	}
	lookAtClusters     = clusters("clusters", Resource{Path: pathClusters + whole, Version: versionClusters})
	lookAtFlexClusters = clusters("flex clusters", Resource{Path: pathFlexClusters + whole, Version: versionFlexClusters})
)

// clusters shows the databases of a list.
func clusters(about string, r Resource) Look {
	type cluster struct {
		Name  string `json:"name"`
		State string `json:"stateName"`
	}
	return Look{Resource: r, About: about, Facts: facts(func(p page[cluster]) []Fact {
		return []Fact{{about, p.names(func(c cluster) string { return strings.TrimSpace(c.Name + " " + c.State) })}}
	})}
}

// lookAtCustomerX509 shows which database users lose their certificates.
var lookAtCustomerX509 = Look{
	Resource: Resource{Path: "/api/atlas/v2/groups/{project_id}/databaseUsers" + whole, Version: "2023-01-01"}, About: "users with customer X.509",
	Facts: facts(func(p page[databaseUser]) []Fact {
		var users []string
		for _, u := range p.Results {
			if u.X509 == "CUSTOMER" {
				users = append(users, u.Name)
			}
		}
		text := list(users)
		if p.TotalCount > len(p.Results) {
			text += fmt.Sprintf(" (of the first %d users)", len(p.Results))
		}
		return []Fact{{"users with customer X.509", text}}
	}),
}

type databaseUser struct {
	Name string `json:"username"`
	X509 string `json:"x509Type"`
}

// lookAtServiceAccount shows what a service account is called and may do, and lookAtServiceAccountProjects where.
var (
	lookAtServiceAccount = Look{
		Resource: Resource{Path: pathOrgAccount, Version: versionAccounts}, About: "service account",
		Facts: facts(func(d struct {
			Name    string       `json:"name"`
			Roles   []string     `json:"roles"`
			Secrets []HeldSecret `json:"secrets"`
		},
		) []Fact {
			return []Fact{{"service account", d.Name}, {"roles in the organization", list(d.Roles)}, {"secrets", fmt.Sprint(len(d.Secrets))}}
		}),
	}
	lookAtServiceAccountProjects = Look{
		Resource: Resource{Path: pathOrgAccount + "/groups" + whole, Version: versionAccounts}, About: "projects",
		Facts: facts(func(p page[project]) []Fact {
			return []Fact{{"projects", p.names(func(p project) string { return strings.TrimSpace(p.ID + " " + strings.Join(p.Roles, " ")) })}}
		}),
	}
)

// project is one in which a service account has roles.
type project struct {
	ID    string   `json:"groupId"`
	Roles []string `json:"roles"`
}
