package kinds

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"time"
)

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
	var waiting, restarting, paused []string
	for _, element := range s.Elements {
		c, ok := decoded[cluster](element)
		switch {
		case !ok || !clusterName.MatchString(c.Name) || !stateName.MatchString(c.State):
			return judged(ShowsNothing, "200, and the list of clusters cannot be read")
		case c.Paused:
			paused = append(paused, c.Name)
		case c.State != "IDLE":
			notes[c.Name] = began
			restarting = append(restarting, c.Name+" "+c.State)
		case notes[c.Name] == "":
			waiting = append(waiting, c.Name)
		}
	}
	f := judged(ShowsDead, "200: restarted: %s", allBut(paused, len(s.Elements)))
	switch {
	case len(restarting) > 0:
		f = judged(ShowsPending, "200: still restarting: %s", list(restarting))
	case len(waiting) > 0:
		f = judged(ShowsPending, "200: not seen to restart yet: %s%s", list(waiting), ifOff(s, "; as no authority was uploaded before the call, it may cause no restart"))
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
		var open, paused []string
		for i, element := range s.Elements {
			c, ok := decoded[cluster](element)
			status, known := decoded[struct {
				Status string `json:"changeStatus"`
			}](s.Each[i])
			switch {
			case !ok || !clusterName.MatchString(c.Name):
				return judged(ShowsNothing, "200, and the list of clusters cannot be read")
			case c.Paused:
				paused = append(paused, c.Name)
			case !known || !stateName.MatchString(status.Status):
				open = append(open, c.Name+" not known")
			case status.Status != "APPLIED":
				open = append(open, c.Name+" "+status.Status)
			}
		}
		if len(open) > 0 {
			return judged(ShowsPending, "200: not applied yet: %s", list(open))
		}
		return judged(then, "200: applied by %s%s", allBut(paused, len(s.Elements)), says)
	}
}

// allBut counts clusters, and names those among them that are paused.
func allBut(paused []string, all int) string {
	text := fmt.Sprintf("%d of %d clusters", all-len(paused), all)
	if len(paused) > 0 {
		text += "; paused: " + list(paused)
	}
	return text
}
