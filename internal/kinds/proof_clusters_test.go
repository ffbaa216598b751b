package kinds

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestAuthority: no authority is no X.509; another one is another matter than the one that was taken away.
func TestAuthority(t *testing.T) {
	pem := func(body string) string {
		return "-----BEGIN CERTIFICATE-----\n" + body + "\n-----END CERTIFICATE-----\n"
	}
	document := func(cas string) []byte {
		return fmt.Appendf(nil, `{"customerX509":{"cas":%q},"ldap":{"bindPassword":"hunter2"}}`, cas)
	}
	before, err := Of(X509Disable).Proof.Meaning(document(pem("b2xk") + pem("b2xkZXI=")))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name     string
		document string
		meaning  map[string]string
		want     Shows
	}{
		{"empty", `{"customerX509":{}}`, before, ShowsDead},
		{"empty text", string(document("")), before, ShowsDead},
		{"the same", string(document(pem("b2xk"))), before, ShowsAlive},
		{"one of two", string(document(pem("bmV3") + "\r\n" + pem("b2xkZXI="))), before, ShowsAlive},
		{"another one", string(document(pem("bmV3"))), before, ShowsDead},
		{"not known what it was", string(document(pem("bmV3"))), nil, ShowsAlive},
		{"no PEM", string(document("garbage")), nil, ShowsAlive},
		{"no such member", `{"ldap":{}}`, before, ShowsNothing},
		{"null", `{"customerX509":null}`, before, ShowsNothing},
		{"other type", `{"customerX509":"off"}`, before, ShowsNothing},
	}
	check := checkOf(t, X509Disable, "user_security", AsAccount)
	for _, tt := range tests {
		got := check.Judge(Seen{Status: 200, Document: []byte(tt.document), Meaning: tt.meaning})
		if got.Shows != tt.want || strings.Contains(got.Says, "hunter2") {
			t.Errorf("%s: %+v, want %s", tt.name, got, tt.want)
		}
	}
	for _, status := range []int{401, 403, 404} {
		if got := check.Judge(Seen{Status: status}); got.Shows != ShowsNothing {
			t.Errorf("%d: %+v", status, got)
		}
	}
}

// TestOffBefore: that nothing was there before the one call is said, and shows no more: the restart for what took it away may be still to come.
func TestOffBefore(t *testing.T) {
	off, err := Of(X509Disable).Proof.Meaning([]byte(`{"customerX509":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	empty, idle := []byte(`{"customerX509":{}}`), elements(`{"name":"A","stateName":"IDLE"}`)
	for _, tt := range []struct {
		name    string
		meaning map[string]string
		one     bool
		want    bool
	}{
		{"off", off, true, true},
		{"an earlier call of the job may have done it", off, false, false},
		{"not known", nil, true, false},
		{"on", map[string]string{"ca_sha256": "ab"}, true, false},
	} {
		security := checkOf(t, X509Disable, "user_security", AsAccount).Judge(Seen{Status: 200, Document: empty, Meaning: tt.meaning, OneCall: tt.one})
		clusters := checkOf(t, X509Disable, "clusters", AsAccount).Judge(Seen{Status: 200, Elements: idle, Meaning: tt.meaning, OneCall: tt.one, Changed: changed})
		if security.Shows != ShowsDead || strings.Contains(security.Says, "none was before the call") != tt.want {
			t.Errorf("%s: %+v", tt.name, security)
		}
		if clusters.Shows != ShowsPending || strings.Contains(clusters.Says, "it may cause no restart") != tt.want {
			t.Errorf("%s: %+v", tt.name, clusters)
		}
	}
}

// TestRestart: a restart that has not begun is not over.
func TestRestart(t *testing.T) {
	idle, updating, paused := `{"name":"A","stateName":"IDLE"}`, `{"name":"B","stateName":"UPDATING"}`, `{"name":"P","stateName":"IDLE","paused":true}`
	event := func(kind, cluster string, after time.Duration) LogEvent {
		return LogEvent{Type: kind, At: changed.Add(after).Truncate(time.Second), Cluster: cluster}
	}
	tests := []struct {
		name  string
		list  []string
		notes map[string]string
		log   []LogEvent
		want  Shows
		says  string
	}{
		{name: "none", want: ShowsDead, says: "no clusters"},
		{name: "not begun", list: []string{idle}, want: ShowsPending, says: "not seen to restart yet: 1: A"},
		{name: "restarting", list: []string{idle, updating}, want: ShowsPending, says: "still restarting: 1: B UPDATING"},
		{name: "seen before", list: []string{idle}, notes: map[string]string{"A": began}, want: ShowsDead},
		{name: "another was seen", list: []string{idle}, notes: map[string]string{"B": began}, want: ShowsPending},
		{name: "in the log", list: []string{idle}, log: []LogEvent{event(eventUpdateCompleted, "A", 0)}, want: ShowsDead},
		{name: "started in the log", list: []string{idle}, log: []LogEvent{event(eventUpdateStarted, "A", time.Minute)}, want: ShowsDead},
		{name: "an earlier restart", list: []string{idle}, log: []LogEvent{event(eventUpdateCompleted, "A", -time.Minute)}, want: ShowsPending},
		{name: "in a future log", list: []string{idle}, log: []LogEvent{event(eventUpdateStarted, "A", time.Hour)}, want: ShowsPending},
		{name: "of no cluster", list: []string{idle}, log: []LogEvent{event(eventUpdateCompleted, "", 0)}, want: ShowsPending},
		{name: "another type", list: []string{idle}, log: []LogEvent{event("CLUSTER_READY", "A", 0)}, want: ShowsPending},
		{name: "paused", list: []string{idle, paused}, notes: map[string]string{"A": began}, want: ShowsDead, says: "200: restarted: 1 of 2 clusters; paused: 1: P"},
		{name: "hostile name", list: []string{`{"name":"A\u0000<b>","stateName":"IDLE"}`}, want: ShowsNothing},
		{name: "no state", list: []string{`{"name":"A"}`}, want: ShowsNothing},
		{name: "no object", list: []string{`7`}, want: ShowsNothing},
	}
	for _, name := range []string{"clusters", "flex_clusters"} {
		check := checkOf(t, X509Disable, name, AsAccount)
		for _, tt := range tests {
			got := check.Judge(Seen{Status: 200, Elements: elements(tt.list...), Notes: tt.notes, Log: tt.log, At: changed.Add(2 * time.Minute), Changed: changed})
			if got.Shows != tt.want || !strings.Contains(got.Says, tt.says) {
				t.Errorf("%s, %s: %+v, want %s with %q", name, tt.name, got, tt.want, tt.says)
			}
		}
	}
	// What one look has seen, the next one knows.
	check := checkOf(t, X509Disable, "clusters", AsAccount)
	first := check.Judge(Seen{Status: 200, Elements: elements(updating), Changed: changed})
	if second := check.Judge(Seen{Status: 200, Elements: elements(`{"name":"B","stateName":"IDLE"}`), Notes: first.Notes, Changed: changed}); second.Shows != ShowsDead {
		t.Errorf("after %v: %+v", first.Notes, second)
	}
	if got := checkOf(t, X509Disable, "flex_clusters", AsAccount).Judge(Seen{Status: 404}); got.Shows != ShowsDead {
		t.Errorf("an API without flex clusters: %+v", got)
	}
	if got := check.Judge(Seen{Status: 404}); got.Shows != ShowsNothing {
		t.Errorf("no list of clusters: %+v", got)
	}
}

// TestApplied: the record of a database user goes before the clusters know.
func TestApplied(t *testing.T) {
	one, two := `{"name":"A","stateName":"IDLE"}`, `{"name":"B","stateName":"IDLE"}`
	tests := []struct {
		name  string
		list  []string
		each  [][]byte
		want  Shows
		wants Shows // Of a scrambled password, which no read shows.
	}{
		{"none", nil, nil, ShowsDead, ShowsNothing},
		{"all", []string{one, two}, elements(`{"changeStatus":"APPLIED"}`, `{"changeStatus":"APPLIED"}`), ShowsDead, ShowsNothing},
		{"one is not", []string{one, two}, elements(`{"changeStatus":"APPLIED"}`, `{"changeStatus":"PENDING"}`), ShowsPending, ShowsPending},
		{"one is not known", []string{one}, [][]byte{nil}, ShowsPending, ShowsPending},
		{"hostile status", []string{one}, elements(`{"changeStatus":"<b>"}`), ShowsPending, ShowsPending},
		{"some not read", []string{one, two}, elements(`{"changeStatus":"APPLIED"}`), ShowsNothing, ShowsNothing},
	}
	for _, tt := range tests {
		seen := Seen{Status: 200, Elements: elements(tt.list...), Each: tt.each}
		if got := checkOf(t, DatabaseUserDelete, "clusters", AsAccount).Judge(seen); got.Shows != tt.want {
			t.Errorf("%s: %+v, want %s", tt.name, got, tt.want)
		}
		if got := checkOf(t, DatabaseUserScramble, "clusters", AsAccount).Judge(seen); got.Shows != tt.wants {
			t.Errorf("%s, scrambled: %+v, want %s", tt.name, got, tt.wants)
		}
	}
	flex := checkOf(t, DatabaseUserDelete, "flex_clusters", AsAccount)
	for text, want := range map[string]Shows{one: ShowsDead, `{"name":"A","stateName":"UPDATING"}`: ShowsPending, `{}`: ShowsNothing} {
		if got := flex.Judge(Seen{Status: 200, Elements: elements(text)}); got.Shows != want {
			t.Errorf("flex, %s: %+v, want %s", text, got, want)
		}
	}
}
