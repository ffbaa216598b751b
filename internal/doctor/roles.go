package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"rekey/internal/atlas"
	"rekey/internal/jobs"
	"rekey/internal/wire"
)

// roles reads what the configuration wants to change, and in which organizations the account is an owner. Reading takes
// the same role as changing does.
func (e *accountCheck) roles(ctx context.Context, targets []jobs.Job) []Finding {
	var list []Finding
	for _, job := range targets {
		list = append(list, e.target(ctx, job))
	}
	return append(list, e.owner(ctx)...)
}

// owner says in which organizations the account may do what events ask of it, as no target is known beforehand.
func (e *accountCheck) owner(ctx context.Context) []Finding {
	kinds := e.kinds()
	if len(kinds) == 0 {
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
		list = append(list, e.noOwner(member, kinds))
	}
	return list
}

// ownerOf says what an owner of an organization may do.
func ownerOf(label string, o atlas.Organization) string {
	text := "Organization Owner of " + label + ": enough for x509.disable in its projects"
	if o.Federation != "" {
		return text + ", and for all else in federation " + o.Federation
	}
	return text + "; it is connected to no federation"
}

// noOwner is the finding about an account that is an owner nowhere. In projects it may be one all the same.
func (e *accountCheck) noOwner(member []string, kinds []jobs.Kind) Finding {
	found := "Organization Owner nowhere"
	if len(member) > 0 {
		found = "member, and no Organization Owner, of " + strings.Join(member, ", ")
	}
	var lost []string
	for _, kind := range kinds {
		if kind != jobs.X509Disable {
			lost = append(lost, string(kind))
		}
	}
	if len(lost) == 0 {
		return e.finding("roles", Skipped, found+"; whether it is Project Owner shows with the first job", "")
	}
	return e.finding("roles", Warning, fmt.Sprintf("%s: %s will be refused", found, strings.Join(lost, ", ")),
		"give the account that role in Atlas, or take the kinds out of intake.limits.allow.kinds; x509.disable needs Project Owner only")
}

// kinds are those that events may ask of the account.
func (e *accountCheck) kinds() []jobs.Kind {
	l := e.cfg.Intake.Limits
	return slices.DeleteFunc(jobs.Kinds(), func(kind jobs.Kind) bool {
		// A token is revoked with the account's own secret, which takes no role.
		return kind == jobs.TokenRevoke || slices.Contains(l.Deny.Kinds, string(kind)) ||
			len(l.Allow.Kinds) > 0 && !slices.Contains(l.Allow.Kinds, string(kind))
	})
}

// roleFor is the role that a kind takes, as the vendor calls it.
func roleFor(kind jobs.Kind) string {
	switch kind {
	case jobs.X509Disable:
		return "Project Owner"
	case jobs.JWKSRevoke, jobs.IDPDelete, jobs.RoleMappingDelete:
		return "Organization Owner in a connected organization"
	case jobs.TokenRevoke:
	}
	return "none"
}

// target reads one target.
func (e *accountCheck) target(ctx context.Context, job jobs.Job) Finding {
	what, target := string(job.Kind), job.Target()+": "
	if job.Kind == jobs.TokenRevoke {
		if file := job.Params.Get(jobs.ParamTokenFile); file != "" {
			if err := wire.MayRead(e.cfg, file); err != nil {
				return e.finding(what, Failed, target+err.Error(), "see intake.token_files")
			}
		}
		return e.finding(what, Skipped, target+"a token cannot be read; to revoke it takes no role", "")
	}
	failure := e.client.Look(ctx, job)
	if failure == nil {
		return e.finding(what, OK, target+"readable, which takes the same role: "+roleFor(job.Kind), "")
	}
	found := target + failure.Err.Error()
	switch {
	case atlas.LacksRole(failure):
		return e.finding(what, Failed, found, "give the account the role "+roleFor(job.Kind)+" in Atlas")
	case failure.Reason == jobs.ReasonNotFound:
		do := "correct the ids in the schedule's job.params, or give the account the role " + roleFor(job.Kind) + ": the API may hide what it may not see"
		if job.Kind == jobs.IDPDelete || job.Kind == jobs.RoleMappingDelete {
			return e.finding(what, Warning, found, "it is deleted already, or: "+do)
		}
		return e.finding(what, Failed, found, do)
	case failure.Reason == jobs.ReasonInvalid:
		return e.finding(what, Skipped, found+"; it cannot be read here", "")
	}
	status, do := e.explain(failure)
	return e.finding(what, status, found, do)
}
