package kinds

import (
	"regexp"
	"time"
)

// ServiceAccountSecretRotate rotates the secret of a service account.
const ServiceAccountSecretRotate Name = "service_account_secret.rotate"

// ParamRotation is the name of a rotation in the configuration.
const ParamRotation = "rotation"

var rotationName = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)

// RotationName is what a rotation may be called.
var RotationName = Shape{Pattern: rotationName.String(), Check: func(value string) string {
	if !rotationName.MatchString(value) {
		return "must be 1 to 64 lower-case letters, digits, - and _"
	}
	return ""
}}

var _ = Declare(Kind{
	Name:     ServiceAccountSecretRotate,
	Order:    14,
	Does:     "rotates the secret of a service account that `rotations` of the configuration describes: a new one is made, delivered and adopted before the old one is deleted",
	Params:   []Param{{Name: ParamRotation, Shape: RotationName}},
	Examples: []string{"rotation=ci"},
	Forms: []Form{{
		Target: "rotation/{rotation}",
		Unread: "the configuration says which service account it is about",
		Set:    orgServiceAccounts, Role: Role{Title: "Organization Owner, or Project Owner for an account of one project"},
	}},
	Rotates: &Rotates{
		Keepers: []Keeper{
			{In: ParamOrg, Scope: "orgs", Settings: Resource{Path: "/api/atlas/v2/orgs/{org_id}/settings", Version: "2023-01-01"}, Set: orgServiceAccounts, Role: OrgOwner},
			{In: ParamProject, Scope: "groups", Set: projectServiceAccounts, Role: ProjectOwner},
		},
		Cut: 7 * 24 * time.Hour, Least: 8, Most: 8760,
	},
	Proof: Proof{
		Checks: []Check{{
			Name: "service_account", Resource: rotatedAccount, Set: orgServiceAccounts, Role: OrgOwner, Judge: withoutSecret,
			Proves: "the account does not list the old secret, or as expired",
		}},
		Takes:  "seconds",
		Events: []string{"SERVICE_ACCOUNT_SECRET_DELETED"},
		Cannot: "The bearer tokens that were made with the old secret end with it; how soon is not published, and no read shows it. The event names neither the " +
			"account nor the secret: it is matched by type, time and account.",
	},
})
