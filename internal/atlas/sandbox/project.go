package sandbox

import (
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"time"
)

// Path templates of projects, their databases and the users of those.
const (
	pathProject        = "/api/atlas/v2/groups/{groupId}"
	pathClusters       = pathProject + "/clusters"
	pathClusterStatus  = pathClusters + "/{clusterName}/status"
	pathFlexClusters   = pathProject + "/flexClusters"
	pathUserSecurity   = pathProject + "/userSecurity"
	pathX509           = pathUserSecurity + "/customerX509"
	pathUserSecurityV1 = "/api/atlas/v1.0/groups/{groupId}/userSecurity"
	pathX509V1         = pathUserSecurityV1 + "/customerX509"
	pathDatabaseUsers  = pathProject + "/databaseUsers"
	pathDatabaseUser   = pathDatabaseUsers + "/{databaseName}/{username}"
	pathCertificates   = pathDatabaseUsers + "/{username}/certs"
)

type project struct {
	orgID    string
	ca       string // Of customer-managed X.509, in PEM; empty: it is off.
	restarts int
	clusters []*cluster
	users    map[databaseName]*databaseUser
}

// cluster is a database that looks busy from one moment to another.
type cluster struct {
	Cluster

	from, until time.Time
}

// newProject makes the project of a seed.
func newProject(seed Project) *project {
	p := &project{orgID: seed.OrgID, users: map[databaseName]*databaseUser{}}
	if seed.CustomerX509 {
		p.ca = newCA(seed.ID)
	}
	clusters := seed.Clusters
	if clusters == nil {
		clusters = []Cluster{{Name: "Cluster0"}}
	}
	for _, c := range clusters {
		p.clusters = append(p.clusters, &cluster{Cluster: c})
	}
	for _, u := range seed.DatabaseUsers {
		p.users[databaseName{u.Database, u.Username}] = &databaseUser{certificates: seed.Certificates[u.Username]}
	}
	return p
}

// newCA makes the certificate of a project's authority: always the same for the same project.
func newCA(projectID string) string {
	key := ed25519.NewKeyFromSeed(fmt.Appendf(nil, "%-32.32s", projectID))
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA of project " + projectID}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2046, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(nil, authority, authority, key.Public(), key)
	if err != nil {
		panic("sandbox: a certificate of its own: " + err.Error())
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// projectRoutes returns the table of projects. Reads draw on the buckets of what changes the same.
func (s *Sandbox) projectRoutes() []route {
	x509, users, clusters := per(paramProject, BucketX509), per(paramProject, BucketDatabaseUsers), per(paramProject, BucketClusters)
	scramble := on(OperationDatabaseUserScramble, http.MethodPatch, pathDatabaseUser, users, s.changeDatabaseUser, "2023-01-01")
	scramble.body = true
	return []route{
		reading(pathProject, quota{}, s.readProject, "2023-01-01"),
		reading(pathClusters, clusters, s.listClusters(false), "2024-08-05"),
		reading(pathClusterStatus, clusters, s.readClusterStatus, "2023-01-01"),
		reading(pathFlexClusters, clusters, s.listClusters(true), "2024-11-13"),
		reading(pathUserSecurity, x509, s.readUserSecurity, "2023-01-01"),
		reading(pathUserSecurityV1, quota{}, s.readUserSecurity),
		on(OperationX509Disable, http.MethodDelete, pathX509, x509, s.disableX509, "2023-01-01"),
		on(OperationX509Disable, http.MethodDelete, pathX509V1, quota{}, s.disableX509),
		reading(pathDatabaseUsers, users, s.listDatabaseUsers, "2023-01-01"),
		reading(pathCertificates, x509, s.listCertificates, "2023-01-01"), // Before that of a user: certs is the name of none here.
		reading(pathDatabaseUser, users, s.readDatabaseUser, "2023-01-01"),
		on(OperationDatabaseUserDelete, http.MethodDelete, pathDatabaseUser, users, s.deleteDatabaseUser, "2023-01-01"),
		scramble,
	}
}

// project returns the project that the path names, when it is there and the caller owns it.
func (s *Sandbox) project(c *call) (*project, answer, bool) {
	return s.projectWith(c, func(id string, p *project) bool { return c.account.ownsProject(id, p) })
}

// readableProject returns it when the caller has any role there.
func (s *Sandbox) readableProject(c *call) (*project, answer, bool) {
	return s.projectWith(c, func(id string, p *project) bool { return c.account.reads(p.orgID, id) })
}

func (s *Sandbox) projectWith(c *call, may func(id string, p *project) bool) (*project, answer, bool) {
	id := c.params[paramProject]
	p := s.world.projects[id]
	switch {
	case p == nil:
		return nil, c.missingProject(id), false
	case !may(id, p):
		return nil, c.unauthorized(), false
	}
	return p, answer{}, true
}

// projectDocument is a project as the API shows it.
type projectDocument struct {
	named
	Name  string `json:"name"`
	OrgID string `json:"orgId"`
}

func (p *project) document(id string) projectDocument {
	return projectDocument{named{id}, "project " + id[len(id)-2:], p.orgID}
}

// readProject answers GET /api/atlas/v2/groups/{groupId}.
func (s *Sandbox) readProject(c *call) answer {
	p, refusal, ok := s.readableProject(c)
	if !ok {
		return refusal
	}
	return c.document(http.StatusOK, p.document(c.params[paramProject]))
}

// busy says whether the cluster looks busy at a moment.
func (c *cluster) busy(at time.Time) bool { return !at.Before(c.from) && at.Before(c.until) }

func (c *cluster) state(at time.Time) string {
	if c.busy(at) {
		return "UPDATING"
	}
	return "IDLE"
}

// update makes the cluster look busy for some time. What it is busy with already goes on.
func (c *cluster) update(from time.Time, d time.Duration) {
	if !c.busy(from) {
		c.from = from
	}
	if until := from.Add(d); until.After(c.until) {
		c.until = until
	}
}

// restart has all clusters of a project restart, later than usual by so much, and writes the log of it.
func (s *Sandbox) restart(id string, p *project, at time.Time, late time.Duration) {
	p.restarts++
	s.later(at.Add(s.restartAfter+late), func(at time.Time) {
		s.log(actor{}, at, entry{kind: "PLAN_STARTED", projectID: id, self: true})
		for _, c := range p.clusters {
			c.update(at, s.restartFor)
			s.log(actor{}, at, entry{kind: "CLUSTER_UPDATE_STARTED", projectID: id, cluster: c.Name, self: true})
		}
		s.later(at.Add(s.restartFor), func(at time.Time) {
			for _, c := range p.clusters {
				s.log(actor{}, at, entry{kind: "CLUSTER_INSTANCE_RESTARTED", projectID: id, cluster: c.Name, self: true},
					entry{kind: "CLUSTER_UPDATE_COMPLETED", projectID: id, cluster: c.Name, self: true})
			}
			s.log(actor{}, at, entry{kind: "PLAN_COMPLETED", projectID: id, self: true})
		})
	})
}

// listClusters answers GET …/groups/{groupId}/clusters, and flexClusters.
func (s *Sandbox) listClusters(flex bool) func(*call) answer {
	type document struct {
		Name  string `json:"name"`
		State string `json:"stateName"`
	}
	return func(c *call) answer {
		p, refusal, ok := s.readableProject(c)
		if !ok {
			return refusal
		}
		list := []document{}
		for _, one := range p.clusters {
			if one.Flex == flex {
				list = append(list, document{one.Name, one.state(c.at)})
			}
		}
		return page(c, list)
	}
}

// readClusterStatus answers GET …/clusters/{clusterName}/status.
func (s *Sandbox) readClusterStatus(c *call) answer {
	p, refusal, ok := s.readableProject(c)
	if !ok {
		return refusal
	}
	name := c.params[paramCluster]
	at := slices.IndexFunc(p.clusters, func(one *cluster) bool { return one.Name == name && !one.Flex })
	if at < 0 {
		return c.refuse(http.StatusNotFound, "CLUSTER_NOT_FOUND", fmt.Sprintf("No cluster named %.64s exists in group %s.", name, c.params[paramProject]), name)
	}
	status := "APPLIED"
	if p.clusters[at].busy(c.at) {
		status = "PENDING"
	}
	return c.document(http.StatusOK, map[string]string{"changeStatus": status})
}

// userSecurity is Atlas's user-security document. Without an authority, customerX509 is empty.
type userSecurity struct {
	CustomerX509 struct {
		CAs string `json:"cas,omitempty"`
	} `json:"customerX509"`
	LDAP struct {
		AuthenticationEnabled bool `json:"authenticationEnabled"`
		AuthorizationEnabled  bool `json:"authorizationEnabled"`
	} `json:"ldap"`
}

// readUserSecurity answers GET …/userSecurity.
func (s *Sandbox) readUserSecurity(c *call) answer {
	p, refusal, ok := s.project(c)
	if !ok {
		return refusal
	}
	var d userSecurity
	d.CustomerX509.CAs = p.ca
	return c.document(http.StatusOK, d)
}

// disableX509 answers DELETE …/groups/{groupId}/userSecurity/customerX509 on either path.
func (s *Sandbox) disableX509(c *call) answer {
	p, refusal, ok := s.project(c)
	if !ok {
		return refusal
	}
	if id, ca := c.params[paramProject], p.ca; ca != "" {
		late, _ := s.lie(c, FaultLateRestart)
		changed := []entry{{kind: "USER_SECURITY_SETTINGS_UPDATED", projectID: id}}
		put := func(ca string, late time.Duration) func(time.Time) {
			return func(at time.Time) {
				if p.ca != ca {
					p.ca = ca
					s.restart(id, p, at, late)
				}
			}
		}
		s.alter(c, change{do: put("", late.Delay), says: changed, undo: put(ca, 0), back: changed})
	}
	return c.document(http.StatusAccepted, userSecurity{})
}
