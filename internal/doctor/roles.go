package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"rekey/internal/atlas"
	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/wire"
)

// roles reads what the configuration wants to change, and in which organizations the account is an owner. Reading a target takes
// the same role as changing it does, where its form names no other.
func (e *accountCheck) roles(ctx context.Context, targets []jobs.Job) []Finding {
	var list []Finding
	for _, job := range targets {
		list = append(list, e.target(ctx, job))
		list = append(list, e.proof(ctx, job)...)
	}
	return append(list, e.owner(ctx)...)
}

// owner says in which organizations the account may do what events ask of it, as no target is known beforehand.
func (e *accountCheck) owner(ctx context.Context) []Finding {
	asked := e.kinds()
	if len(asked) == 0 {
		return nil
	}
	orgs, failure := e.client.Organizations(ctx, e.account.Name)
	if failure != nil {
		return []Finding{e.finding("roles", Skipped, "its organizations cannot be listed: "+failure.Err.Error(), "")}
	}
	var list []Finding
	var member []string
	for _, o := range orgs {
		label := o.ID
		if o.Name != "" {
			label = o.Name + " (" + o.ID + ")"
		}
		switch {
		case o.Failure != nil:
			list = append(list, e.finding("roles", Skipped, label+": "+o.Failure.Err.Error(), ""))
		case o.Owner:
			list = append(list, e.finding("roles", OK, ownerOf(label, o), ""))
		default:
			member = append(member, label)
		}
	}
	if len(list) == 0 {
		list = append(list, e.noOwner(member, asked))
	}
	return list
}

// ownerOf says what an owner of an organization may do.
func ownerOf(label string, o atlas.Organization) string {
	text := "Organization Owner of " + label + ": enough for " + kindsWithin(kinds.InOrg) + " there, for " +
		kindsWithin(kinds.InProject) + " in its projects"
	if o.Federation != "" {
		return text + ", and for all else in federation " + o.Federation
	}
	return text + "; it is connected to no federation"
}

// kindsWithin are the kinds whose role is given in a place.
func kindsWithin(place kinds.Place) string {
	var list []string
	for _, k := range kinds.All() {
		if k.Within(place) {
			list = append(list, string(k.Name))
		}
	}
	return strings.Join(list, ", ")
}

// noOwner is the finding about an account that is an owner nowhere. In projects it may be one all the same.
func (e *accountCheck) noOwner(member []string, asked []kinds.Kind) Finding {
	found := "Organization Owner nowhere"
	if len(member) > 0 {
		found = "member, and no Organization Owner, of " + strings.Join(member, ", ")
	}
	var lost []string
	for _, k := range asked {
		if !k.Within(kinds.InProject) {
			lost = append(lost, string(k.Name))
		}
	}
	if len(lost) == 0 {
		return e.finding("roles", Skipped, found+"; whether it has a role in a project shows with the first job", "")
	}
	return e.finding("roles", Warning, fmt.Sprintf("%s: %s will be refused", found, strings.Join(lost, ", ")),
		"give the account that role in Atlas, or take the kinds out of intake.limits.allow.kinds; a role in the project is enough for "+kindsWithin(kinds.InProject))
}

// kinds are those that events may ask of the account, and that take a role.
func (e *accountCheck) kinds() []kinds.Kind {
	l := e.cfg.Intake.Limits
	return slices.DeleteFunc(kinds.All(), func(k kinds.Kind) bool {
		return k.Role() == kinds.NoRole.Title || k.Rotates != nil && !slices.ContainsFunc(e.cfg.Rotations, func(r config.Rotation) bool { return r.Kind() == k.Name }) || slices.Contains(l.Deny.Kinds, string(k.Name)) ||
			len(l.Allow.Kinds) > 0 && !slices.Contains(l.Allow.Kinds, string(k.Name))
	})
}

// target reads one target.
func (e *accountCheck) target(ctx context.Context, job jobs.Job) Finding {
	what, target := string(job.Kind), job.Target()+": "
	kind := kinds.Of(job.Kind)
	form := kind.Form(e.cfg.Atlas.X509API, job.Params.Named)
	for _, p := range kind.Secrets() {
		if file := job.Params.Get(p.Name + kinds.SuffixFile); file != "" {
			if err := wire.MayRead(e.cfg, file, e.LookupEnv); err != nil {
				return e.finding(what, Failed, target+err.Error(), "see intake.token_files")
			}
		}
	}
	if form.Read.Path == "" {
		return e.finding(what, Skipped, target+form.Unread, "")
	}
	failure := e.client.Look(ctx, job)
	if failure == nil && form.ReadRole != "" {
		return e.finding(what, OK, target+"readable, which takes "+form.ReadRole+"; the job takes "+form.Role.Title+", see roles", "")
	}
	if failure == nil {
		return e.finding(what, OK, target+"readable, which takes the same role: "+form.Role.Title, "")
	}
	found := target + failure.Err.Error()
	switch {
	case atlas.LacksRole(failure):
		return e.finding(what, Failed, found, "give the account the role "+form.Role.Title+" in Atlas")
	case failure.Reason == jobs.ReasonNotFound:
		do := "correct the ids in the schedule's job.params, or give the account the role " + form.Role.Title + ": the API may hide what it may not see"
		if kind.Gone(form) {
			return e.finding(what, Warning, found, "it is deleted already, or: "+do)
		}
		return e.finding(what, Failed, found, do)
	case failure.Reason == jobs.ReasonInvalid:
		return e.finding(what, Skipped, found+"; it cannot be read here", "")
	}
	status, do := e.explain(failure)
	return e.finding(what, status, found, do)
}
