package kinds

import "time"

// Databases of a project, and the state of a change of one.
const (
	pathClusters      = "/api/atlas/v2/groups/{project_id}/clusters"
	pathClusterStatus = pathClusters + "/{" + ParamEach + "}/status"
	pathFlexClusters  = "/api/atlas/v2/groups/{project_id}/flexClusters"

	versionClusters     = "2024-08-05"
	versionStatus       = "2023-01-01"
	versionFlexClusters = "2024-11-13"
)

// week is how long a target is watched that those who restore configuration put back.
const week = 7 * 24 * time.Hour

// clustersCheck is a check of the list of clusters, and flexCheck of flex clusters.
func clustersCheck(c Check) Check {
	c.Name, c.Resource, c.List = "clusters", Resource{Path: pathClusters, Version: versionClusters}, true
	c.Set, c.Role = clustersProject, ProjectReadOnly
	return c
}

func flexCheck(c Check) Check {
	c = clustersCheck(c)
	c.Name, c.Resource = "flex_clusters", Resource{Path: pathFlexClusters, Version: versionFlexClusters}
	return c
}

// appliedChecks are those of a change that clusters apply in their own time. then is what that shows, once they all have.
func appliedChecks(then Shows, says string) []Check {
	status := Resource{Path: pathClusterStatus, Version: versionStatus}
	return []Check{
		clustersCheck(Check{Each: status, EachID: "name", Judge: applied(then, says), Proves: "every cluster has applied the change (`changeStatus`)"}),
		flexCheck(Check{Judge: orNone(idle), Proves: "every flex cluster is `IDLE`, where there are some"}),
	}
}
