package kinds

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"rekey/internal/credential"
	"rekey/internal/secret"
)

// APIKeyRotate rotates an API key of an organization.
const APIKeyRotate Name = "api_key.rotate"

var _ = Declare(Kind{
	Name:     APIKeyRotate,
	Order:    15,
	Does:     "rotates an API key that `rotations` of the configuration describes: a new one with the same roles, projects and access list is made, delivered and adopted before the old one is deleted",
	Params:   []Param{{Name: ParamRotation, Shape: RotationName}},
	Examples: []string{"rotation=backup"},
	Forms: []Form{{
		Target: "rotation/{rotation}",
		Unread: "the configuration says which API key it is about",
		Set:    orgAPIKeys, Role: OrgOwner,
	}},
	Rotates: &Rotates{
		Subject: paramKeyID, Shape: ID,
		Homes:      []Home{{In: ParamOrg, Scope: "orgs", Set: orgAPIKeys, Role: OrgOwner}},
		Credential: rotatedKey, ID: paramKeyID, Others: []Set{projectAPIKeys},
		Words: Words{One: "API key", Many: "API keys", Subject: "API key", Proof: "can read", Endless: "API keys have no end"},
		Read:  readKeys, Made: makeKey, Fresh: freshKey, Fits: fitsMark, Mark: newMark, Lacks: lacksOfKey,
		Login: loginOfKey, Value: func(l Login) secret.Value { return secret.New(l.Identity + ":" + l.Secret.Reveal()) },
	},
	Proof: Proof{
		Checks: []Check{{Name: "api_key", Resource: rotatedKey, Set: orgAPIKeys, Role: OrgMember, Judge: gone("API key"), Proves: "404"}},
		Takes:  "seconds",
		Events: []string{"API_KEY_DELETED"}, EventTarget: "targetPublicKey", TargetParam: paramKey,
	},
})

// The resources of API keys.
var (
	rotatedKeys    = Resource{Path: "/api/atlas/v2/{scope}/{scope_id}/apiKeys", Version: versionAPIKeys}
	rotatedKey     = Resource{Path: rotatedKeys.Path + "/{api_key_id}", Version: versionAPIKeys, IDField: "id", IDParam: paramKeyID}
	rotatedKeyList = Resource{Path: rotatedKey.Path + "/accessList", Version: versionAPIKeys}
	rotatedProject = Resource{Path: "/api/atlas/v2/groups/{project_id}/apiKeys/{api_key_id}", Version: versionAPIKeys}
	// readableByAll can be read with every credential, whatever roles it has.
	readableByAll = Resource{Path: "/api/atlas/v2", Version: "2023-01-01"}
)

// markOf finds the mark in the description of an API key that a rotation has made, and in it the id of the first one: the one that the
// configuration names.
var markOf = regexp.MustCompile(`\s*\[rekey ([a-f0-9]{24}) (\d{8}T\d{6}Z) [A-Z2-7]{13}\]$`)

// markTime is the form of the time in a mark.
const markTime = "20060102T150405Z"

// rootOf is the id of the first API key that a description names; empty: it has no mark.
func rootOf(text string) string {
	if mark := markOf.FindStringSubmatch(text); mark != nil {
		return mark[1]
	}
	return ""
}

// madeAt is when an API key was asked for, as its mark says: the API does not say when it was made. The first one has none, and is the oldest.
func madeAt(text string) time.Time {
	mark := markOf.FindStringSubmatch(text)
	if mark == nil {
		return time.Time{}
	}
	at, _ := time.Parse(markTime, mark[2]) //nolint:errcheck // A time that cannot be read is as good as no mark.
	return at
}

// newMark is the mark of a request. Its last part is made up, so that no other request has it.
func newMark(k Keeper, at time.Time) string {
	const unlike = 13 // 65 bits.
	return "[rekey " + k.Subject + " " + at.UTC().Format(markTime) + " " + rand.Text()[:unlike] + "]"
}

// keyDocument is an API key as the API shows it.
type keyDocument struct {
	ID      string  `json:"id"`
	Text    string  `json:"desc"`
	Public  string  `json:"publicKey"`
	Private string  `json:"privateKey"`
	Grants  []Grant `json:"roles"`
}

func (d keyDocument) held() HeldSecret {
	return HeldSecret{ID: d.ID, CreatedAt: madeAt(d.Text), Masked: d.Private, Public: d.Public, Text: d.Text, Grants: d.Grants}
}

// readKeys reads the API key that the configuration names, and those that rotations of it have made. When one was last used is in its
// access list.
func readKeys(k Keeper, ask Asker) (Holder, error) {
	all, err := paged[keyDocument](k, ask, rotatedKeys, HeldSecret{}, "API keys")
	if err != nil {
		return Holder{}, err
	}
	held := Holder{Secrets: []HeldSecret{}}
	for _, d := range all {
		if d.ID != k.Subject && rootOf(d.Text) != k.Subject {
			continue
		}
		one := d.held()
		if _, twice := held.Secret(d.ID); !IsID(d.ID) || PublicKey.Check(d.Public) != "" || twice {
			return Holder{}, errors.New("an API key in the list has a malformed id or public key, or is there twice")
		}
		if err := one.readList(k, ask); err != nil {
			return Holder{}, err
		}
		held.Secrets = append(held.Secrets, one)
	}
	return held, nil
}

// readList reads the access list of an API key.
func (s *HeldSecret) readList(k Keeper, ask Asker) error {
	entries, err := paged[struct {
		Block    string    `json:"cidrBlock"`
		Address  string    `json:"ipAddress"`
		LastUsed time.Time `json:"lastUsed"`
	}](k, ask, rotatedKeyList, *s, "access list entries")
	if err != nil {
		return err
	}
	for _, e := range entries {
		block, ok := blockOf(cmp.Or(e.Block, e.Address))
		if !ok {
			return errUnread("the access list of API key " + s.ID)
		}
		s.List = append(s.List, block)
		if e.LastUsed.After(s.LastUsedAt) {
			s.LastUsedAt = e.LastUsed
		}
	}
	if len(entries) == 0 {
		s.Unseen = "it has no access list, whose entries would show it"
	}
	return nil
}

// blockOf is an address or a block of addresses, as a block.
func blockOf(text string) (string, bool) {
	if address, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(address, address.BitLen()).String(), true
	}
	block, err := netip.ParsePrefix(text)
	return block.String(), err == nil
}

// makeKey asks for an API key with the description and the roles in the organization of another one.
func makeKey(k Keeper, like HeldSecret, w Wanted) (Ask, error) {
	roles := like.in(k.ID, "")
	if len(roles) == 0 {
		return Ask{}, errors.New("there is no API key whose roles a new one could have")
	}
	return k.with(k.ask(http.MethodPost, rotatedKeys, HeldSecret{}, http.StatusOK, http.StatusCreated), struct {
		Text  string   `json:"desc"`
		Roles []string `json:"roles"`
	}{describedAs(like.Text, w.Mark), roles})
}

// describedAs is a description with another mark. It is cut where the API would not take it.
func describedAs(text, mark string) string {
	const most = 250 // Characters, as the API counts them: not more bytes are as good.
	text = markOf.ReplaceAllString(text, "")
	for room := most - len(mark) - 1; len(text) > room; {
		_, last := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-last]
	}
	return strings.TrimSpace(text + " " + mark)
}

// in are the roles in an organization, or in a project.
func (s HeldSecret) in(org, project string) []string {
	var roles []string
	for _, g := range s.Grants {
		if g.ProjectID == project && (project != "" || g.OrgID == org) {
			roles = append(roles, g.Role)
		}
	}
	slices.Sort(roles)
	return slices.Compact(roles)
}

// freshKey reads the document of an API key that was just made.
func freshKey(document []byte) (Fresh, error) {
	var d keyDocument
	if err := json.Unmarshal(document, &d); err != nil {
		return Fresh{}, errors.New("the answer to the new API key cannot be read")
	}
	private := secret.New(d.Private)
	if !IsID(d.ID) || PublicKey.Check(d.Public) != "" || credential.CheckVisible(d.Private) != "" || strings.ContainsAny(d.Private, "*:") {
		return Fresh{}, errors.New("the answer to the new API key has no id, public or private key of the documented form")
	}
	d.Private = ""
	return Fresh{HeldSecret: d.held(), Value: secret.New(d.Public + ":" + private.Reveal())}, nil
}

// fitsMark: its description ends with the mark that was made up for the request, and it was not used as far as the API shows.
func fitsMark(s HeldSecret, w Wanted) bool {
	return w.Mark != "" && s.LastUsedAt.IsZero() && strings.HasSuffix(s.Text, w.Mark)
}

// loginOfKey takes the two halves of an API key apart.
func loginOfKey(_ string, value secret.Value) Login {
	public, private, ok := strings.Cut(value.Reveal(), ":")
	if !ok || PublicKey.Check(public) != "" || private == "" {
		return Login{}
	}
	return Login{Identity: public, Secret: secret.New(private), Read: readableByAll}
}

// lacksOfKey are the requests that give an API key the projects, the roles and the access list of another one.
func lacksOfKey(k Keeper, of, fresh HeldSecret) ([]Ask, error) {
	var asks []Ask
	add := func(a Ask, content any) error {
		a, err := k.with(a, content)
		asks = append(asks, a)
		return err
	}
	type assignment struct {
		Roles []string `json:"roles"`
	}
	if roles := of.in(k.ID, ""); lacks(fresh.in(k.ID, ""), roles) {
		if err := add(k.ask(http.MethodPatch, rotatedKey, fresh, http.StatusOK), assignment{roles}); err != nil {
			return nil, err
		}
	}
	projects := map[string]bool{}
	for _, g := range of.Grants {
		if g.ProjectID != "" {
			projects[g.ProjectID] = true
		}
	}
	for _, project := range slices.Sorted(maps.Keys(projects)) {
		roles, have := of.in("", project), fresh.in("", project)
		if !lacks(have, roles) {
			continue
		}
		a := k.ask(http.MethodPost, rotatedProject, fresh, http.StatusNoContent, http.StatusOK)
		values := k.Found(fresh)
		values[ParamProject] = project
		a.Set, a.Value = projectAPIKeys, func(name string) string { return values[name] }
		var content any = []assignment{{roles}}
		if len(have) > 0 { // It is in the project already.
			a.Method, content = http.MethodPatch, assignment{roles}
		}
		if err := add(a, content); err != nil {
			return nil, err
		}
	}
	return listLacks(k, of, fresh, asks)
}

// listLacks adds the request that gives an API key the access list of another one.
func listLacks(k Keeper, of, fresh HeldSecret, asks []Ask) ([]Ask, error) {
	type entry struct {
		Block string `json:"cidrBlock"`
	}
	var entries []entry
	for _, block := range of.List {
		if !slices.Contains(fresh.List, block) {
			entries = append(entries, entry{block})
		}
	}
	if len(entries) == 0 {
		return asks, nil
	}
	a, err := k.with(k.ask(http.MethodPost, rotatedKeyList, fresh, http.StatusOK, http.StatusCreated), entries)
	return append(asks, a), err
}

// lacks reports whether one of the wanted roles is not there.
func lacks(have, wanted []string) bool {
	return slices.ContainsFunc(wanted, func(role string) bool { return !slices.Contains(have, role) })
}
