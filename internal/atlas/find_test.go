package atlas_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/atlas/sandbox"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

const soughtSecret = "mdb_sa_sk_canary-that-leaked-wxYZ"

// list is an API with a list of elements, in pages of two whatever is asked for, and whatever may be deleted.
type list struct {
	elements []string
	total    bool // It says how many there are.
	stuck    bool // It answers with the first page whatever is asked for.
	body     string
	seen     []string
	pages    int
}

func (l *list) RoundTrip(req *http.Request) (*http.Response, error) {
	if isTokenRequest(req) {
		return issue(bearerToken, 3600), nil
	}
	l.seen = append(l.seen, req.Method+" "+req.URL.RequestURI())
	if req.Method != http.MethodGet {
		return reply(204, ""), nil
	}
	if !req.URL.Query().Has("pageNum") {
		return reply(200, serviceAccount(path.Base(req.URL.Path))), nil // The guard looks at what was found.
	}
	l.pages++
	if l.body != "" {
		return reply(200, l.body), nil
	}
	page, err := strconv.Atoi(req.URL.Query().Get("pageNum"))
	if err != nil {
		return nil, err
	}
	begin := min(2*(page-1), len(l.elements))
	if l.stuck {
		begin = 0
	}
	total := ""
	if l.total {
		total = fmt.Sprintf(`,"totalCount":%d`, len(l.elements))
	}
	return reply(200, `{"results":[`+strings.Join(l.elements[begin:min(begin+2, len(l.elements))], ",")+"]"+total+"}"), nil
}

// changes are the requests that change something.
func (l *list) changes() []string {
	return slices.DeleteFunc(slices.Clone(l.seen), func(one string) bool { return strings.HasPrefix(one, "GET ") })
}

// serviceAccount is an element with secrets, by their masks.
func serviceAccount(client string, masks ...string) string {
	var secrets []string
	for i, mask := range masks {
		secrets = append(secrets, fmt.Sprintf(`{"id":"%024x","maskedSecretValue":%q}`, i+1, mask))
	}
	return fmt.Sprintf(`{"clientId":%q,"secrets":[%s]}`, client, strings.Join(secrets, ","))
}

// TestFind: what fits is found on whatever page, kept before it is deleted, and nothing is deleted where not exactly one fits.
func TestFind(t *testing.T) {
	const other = "mdb_sa_sk_****0000"
	fitting := "mdb_sa_sk_****wxYZ"
	client := func(n int) string { return fmt.Sprintf("mdb_sa_id_%024x", n) }
	many := []string{serviceAccount(client(1), other), serviceAccount(client(2)), serviceAccount(client(3), other, other), serviceAccount(client(4), other)}
	tests := []struct {
		name       string
		api        list
		want       string // The path that is deleted.
		wantPages  int
		wantReason jobs.Reason
		wantText   string
	}{
		{name: "first page", api: list{elements: []string{serviceAccount(client(9), other, fitting)}, total: true}, want: client(9) + "/secrets/" + fmt.Sprintf("%024x", 2), wantPages: 1},
		{name: "third page", api: list{elements: append(slices.Clone(many), serviceAccount(client(9), fitting)), total: true}, want: client(9) + "/secrets/" + fmt.Sprintf("%024x", 1), wantPages: 3},
		{name: "no total", api: list{elements: append(slices.Clone(many), serviceAccount(client(9), fitting))}, want: client(9) + "/secrets/" + fmt.Sprintf("%024x", 1), wantPages: 4},
		{name: "the same twice", api: list{elements: []string{serviceAccount(client(9), fitting), serviceAccount(client(9), fitting)}}, want: client(9) + "/secrets/" + fmt.Sprintf("%024x", 1), wantPages: 2},
		{name: "the first page again and again", api: list{elements: many, stuck: true}, wantPages: 2, wantReason: jobs.ReasonProtocol, wantText: "has a page that repeats those before it"},
		{name: "none", api: list{elements: many, total: true}, wantPages: 2, wantReason: jobs.ReasonNotFound, wantText: "no client secret fits what is looked for; 4 service accounts were looked at"},
		{name: "no accounts", api: list{total: true}, wantPages: 1, wantReason: jobs.ReasonNotFound, wantText: "0 service accounts were looked at"},
		{
			name: "two on different pages", api: list{elements: append([]string{serviceAccount(client(8), fitting)}, append(slices.Clone(many), serviceAccount(client(9), fitting))...)},
			wantPages: 4, wantReason: jobs.ReasonInvalid, wantText: "more than one client secret fits what is looked for, so nothing was changed; name one by its ids: 2 found of 6 looked at: client_id " + client(8) + " secret_id",
		},
		{name: "mask without a sign", api: list{elements: []string{serviceAccount(client(9), "mdb_sa_sk_****")}}, wantPages: 2, wantReason: jobs.ReasonNotFound},
		{name: "id that leads elsewhere", api: list{elements: []string{serviceAccount("../orgs", fitting)}}, wantPages: 1, wantReason: jobs.ReasonProtocol, wantText: "has an id that is malformed"},
		{name: "another document", api: list{body: `{"secrets":[]}`}, wantPages: 1, wantReason: jobs.ReasonProtocol, wantText: "the list of service accounts cannot be read"},
		{name: "not JSON", api: list{body: `<html>`}, wantPages: 1, wantReason: jobs.ReasonProtocol},
		{name: "elements of another type", api: list{body: `{"results":[{"clientId":7}]}`}, wantPages: 1, wantReason: jobs.ReasonProtocol, wantText: "clientId has the wrong type"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			api := tt.api
			j := jobWith(t, kinds.ServiceAccountSecretDelete, "service", map[string]any{"org_id": idA, "secret": soughtSecret})
			var kept []jobs.Search
			j.Keep = func(_ context.Context, s jobs.Search) error {
				if len(api.changes()) > 0 {
					t.Error("it is kept after the change")
				}
				kept = append(kept, s)
				return nil
			}
			answer, err := newClient(t, config(&api)).Revoke(t.Context(), j)
			if api.pages != tt.wantPages {
				t.Errorf("%d pages were read, want %d: %q", api.pages, tt.wantPages, api.seen)
			}
			if seen := fmt.Sprintf("%+v %v %+v %q", answer, err, kept, api.seen); strings.Contains(seen, soughtSecret) || strings.Contains(seen, "canary") {
				t.Errorf("the secret is in %s", seen)
			}
			if tt.want != "" {
				if want := []string{"DELETE /api/atlas/v2/orgs/" + idA + "/serviceAccounts/" + tt.want}; err != nil || !slices.Equal(api.changes(), want) || kept[len(kept)-1].Only() == nil {
					t.Errorf("changes %q, kept %+v, %v; want %q", api.changes(), kept, err, want)
				}
				return
			}
			if at := kept[max(0, len(kept)-1):]; tt.api.stuck && (len(at) == 0 || at[0].NextPage != 1 || at[0].LookedAt != 0) {
				t.Errorf("the next attempt goes on at %+v", at)
			}
			failure := failureOf(t, answer, err)
			if failure.Reason != tt.wantReason || failure.MaybeEffective || !strings.Contains(failure.Err.Error(), tt.wantText) || len(api.changes()) > 0 {
				t.Errorf("%v, changes %q; want %s: %s", failure, api.changes(), tt.wantReason, tt.wantText)
			}
		})
	}
}

// TestFindGoesOn: a search that was cut off goes on where it was, one that is done is not made again, and what cannot be
// recorded is not acted on.
func TestFindGoesOn(t *testing.T) {
	hit := map[string]string{"client_id": leakedClient, "secret_id": idC}
	remove := "DELETE /api/atlas/v2/orgs/" + idA + "/serviceAccounts/" + leakedClient + "/secrets/" + idC
	page := func(n int) string {
		return fmt.Sprintf("GET /api/atlas/v2/orgs/%s/serviceAccounts?itemsPerPage=100&pageNum=%d", idA, n)
	}
	look := "GET /api/atlas/v2/orgs/" + idA + "/serviceAccounts/" + leakedClient
	errKeep := errors.New("no ledger")
	tests := []struct {
		name   string
		search *jobs.Search
		keep   error
		want   []string
	}{
		{name: "done", search: &jobs.Search{LookedAt: 5, Found: []map[string]string{hit}, Count: 1, Done: true}, want: []string{look, remove}},
		{name: "half done", search: &jobs.Search{NextPage: 2, LookedAt: 2, Found: []map[string]string{hit}, Count: 1}, want: []string{page(2), look, remove}},
		{name: "none before, and retried", search: &jobs.Search{LookedAt: 5, Done: true}, want: []string{page(1), page(2)}},
		{name: "cannot be recorded", search: &jobs.Search{NextPage: 2, LookedAt: 2, Found: []map[string]string{hit}, Count: 1}, keep: errKeep, want: []string{page(2)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			api := list{elements: []string{serviceAccount("mdb_sa_id_" + idA), serviceAccount("mdb_sa_id_" + idB), serviceAccount("mdb_sa_id_" + idC)}, total: true}
			j := jobWith(t, kinds.ServiceAccountSecretDelete, "service", map[string]any{"org_id": idA, "secret": soughtSecret})
			j.Search, j.Keep = tt.search, func(context.Context, jobs.Search) error { return tt.keep }
			_, err := newClient(t, config(&api)).Revoke(t.Context(), j)
			if diff := cmp.Diff(tt.want, api.seen); diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
			if failure, ok := errors.AsType[*jobs.Failure](err); tt.keep != nil && (!ok || failure.Reason != jobs.ReasonInterrupted || failure.MaybeEffective) {
				t.Errorf("the failure is %+v", failure)
			}
		})
	}
}

// TestFindInTheSandbox: by what a responder has, for each kind that can be looked up, and a dry run that says what it found.
func TestFindInTheSandbox(t *testing.T) {
	box, c := sandboxClient(t, sandbox.Config{Secrets: map[string]string{sandbox.LeakedSecretID: soughtSecret}})
	for _, tt := range []struct {
		kind   jobs.Kind
		params map[string]any
		gone   string
	}{
		{kinds.ServiceAccountSecretDelete, map[string]any{"project_id": sandbox.ProjectID, "secret": soughtSecret}, sandbox.LeakedSecretID},
		{kinds.APIKeyDelete, map[string]any{"org_id": sandbox.OrgID, "public_key": sandbox.LeakedPublicKey}, sandbox.LeakedAPIKeyID},
		{kinds.ProjectUserRemove, map[string]any{"project_id": sandbox.SpareProjectID, "username": strings.ToUpper(sandbox.UserName)}, ""},
		{kinds.OrgUserRemove, map[string]any{"org_id": sandbox.OrgID, "username": sandbox.UserName}, sandbox.UserID},
	} {
		j := jobWith(t, tt.kind, "key", tt.params)
		dry := j
		dry.DryRun = true
		before := fmt.Sprint(box.State())
		if answer := revokeWorks(t, c, dry); !answer.DryRun || fmt.Sprint(box.State()) != before {
			t.Errorf("%s: the dry run says %+v", tt.kind, answer)
		}
		revokeWorks(t, c, j)
		if after := fmt.Sprint(box.State()); after == before || tt.gone != "" && strings.Contains(after, tt.gone) {
			t.Errorf("%s: the sandbox has %s", tt.kind, after)
		}
		if failure := revokeFails(t, c, j); failure.Reason != jobs.ReasonNotFound {
			t.Errorf("%s, the second time: %v", tt.kind, failure)
		}
	}
}

// TestFindIsGuarded: what a look-up finds can be the worker's own, too.
func TestFindIsGuarded(t *testing.T) {
	box, c := sandboxClient(t, sandbox.Config{})
	own, _ := box.Secret(sandbox.ClientID)
	for _, j := range []jobs.Job{
		jobWith(t, kinds.ServiceAccountSecretDelete, "key", map[string]any{"org_id": sandbox.OrgID, "secret": own}),
		jobWith(t, kinds.APIKeyDelete, "service", map[string]any{"org_id": sandbox.OrgID, "public_key": sandbox.PublicKey}),
	} {
		if failure := revokeFails(t, c, j); failure.Reason != jobs.ReasonInvalid || !strings.Contains(failure.Err.Error(), "allow_self") {
			t.Errorf("%s: %v", j.Kind, failure)
		}
		if value, _ := box.Secret(sandbox.ClientID); value != own || len(box.State().Accounts) != 9 {
			t.Errorf("%s: the sandbox has %v", j.Kind, box.State())
		}
	}
}
