package jobs

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/kinds"
)

// TestClosedSets writes the sets out: subjects, labels and stored records hold their
// members, so that a changed word is a changed format.
func TestClosedSets(t *testing.T) {
	tests := []struct {
		name string
		got  []string
		want string
	}{
		{name: "kinds", got: Names(Kinds()), want: "token.revoke jwks.revoke x509.disable idp.delete role_mapping.delete " +
			"service_account_secret.delete service_account.delete api_key.delete database_user.delete database_user.scramble " +
			"org_user.remove project_user.remove leak.contain service_account_secret.rotate api_key.rotate"},
		{name: "lanes", got: Names(Lanes()), want: "urgent normal bulk"},
		{name: "states", got: Names(States()), want: "queued running waiting done"},
		{name: "outcomes", got: Names(Outcomes()), want: "revoked rotated already_gone refused exhausted cancelled"},
		{name: "origins", got: Names(Origins()), want: "event schedule operator"},
		{name: "intakes", got: Names(EventResults()), want: "accepted duplicate malformed refused policy_error unmatched"},
		{
			name: "reasons", got: Names(Reasons()),
			want: "none rate_limited unavailable unauthorized forbidden not_found conflict invalid protocol config interrupted",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(strings.Fields(tt.want), tt.got); diff != "" {
				t.Errorf("the set changed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSetsAreCopies(t *testing.T) {
	Kinds()[0], Lanes()[0], Reasons()[0], kinds.Of(kinds.JWKSRevoke).ParamNames()[0] = "x", "x", "x", "x"
	if Kinds()[0] == "x" || Lanes()[0] == "x" || Reasons()[0] == "x" || kinds.Of(kinds.JWKSRevoke).ParamNames()[0] == "x" {
		t.Error("a caller can change a closed set")
	}
}

func TestParseKind(t *testing.T) {
	for _, kind := range Kinds() {
		if got, err := ParseKind(string(kind)); got != kind || err != nil {
			t.Errorf("ParseKind(%q) = %q, %v", kind, got, err)
		}
	}
	for _, name := range []string{"", "Token.Revoke", "token-revoke", "jwks.revoke ", canary} {
		got, err := ParseKind(name)
		want := "unknown kind; the kinds are " + strings.Join(Names(Kinds()), ", ")
		if got != "" || err == nil || err.Error() != want {
			t.Errorf("ParseKind(%q) = %q, %v; want the error %q", name, got, err, want)
		}
	}
}

func TestParseLane(t *testing.T) {
	for _, lane := range Lanes() {
		if got, err := ParseLane(string(lane)); got != lane || err != nil {
			t.Errorf("ParseLane(%q) = %q, %v", lane, got, err)
		}
	}
	for _, name := range []string{"", "Urgent", "high", canary} {
		got, err := ParseLane(name)
		if want := "unknown lane; the lanes are urgent, normal, bulk"; got != "" || err == nil || err.Error() != want {
			t.Errorf("ParseLane(%q) = %q, %v; want the error %q", name, got, err, want)
		}
	}
}

func TestSubjectToken(t *testing.T) {
	want := []string{
		"token-revoke", "jwks-revoke", "x509-disable", "idp-delete", "role_mapping-delete",
		"service_account_secret-delete", "service_account-delete", "api_key-delete", "database_user-delete", "database_user-scramble",
		"org_user-remove", "project_user-remove", "leak-contain", "service_account_secret-rotate", "api_key-rotate",
	}
	var got []string
	for _, kind := range Kinds() {
		got = append(got, kind.SubjectToken())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("subjects changed (-want +got):\n%s", diff)
	}
}

func TestMoreUrgentThan(t *testing.T) {
	for i, a := range Lanes() {
		for j, b := range Lanes() {
			if got := a.MoreUrgentThan(b); got != (i < j) {
				t.Errorf("%s.MoreUrgentThan(%s) = %v", a, b, got)
			}
		}
	}
}

func TestClasses(t *testing.T) {
	tests := []struct {
		name       string
		class      string
		wantLane   Lane
		wantOrigin Origin
	}{
		{name: "incident", class: ClassIncident, wantLane: LaneUrgent, wantOrigin: OriginEvent},
		{name: "rotation", class: ClassRotation, wantLane: LaneNormal, wantOrigin: OriginEvent},
		{name: "schedule", class: ClassSchedule, wantLane: LaneNormal, wantOrigin: OriginSchedule},
		{name: "operator", class: ClassOperator, wantLane: LaneNormal, wantOrigin: OriginOperator},
		{name: "a user's own", class: "audit.finding", wantLane: LaneNormal, wantOrigin: OriginEvent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := DefaultLane(tt.class); got != tt.wantLane {
				t.Errorf("DefaultLane = %s, want %s", got, tt.wantLane)
			}
			if got := OriginOf(tt.class); got != tt.wantOrigin {
				t.Errorf("OriginOf = %s, want %s", got, tt.wantOrigin)
			}
		})
	}
}

func TestOutcomes(t *testing.T) {
	tests := []struct {
		outcome        Outcome
		wantSuccess    bool
		wantDeadLetter bool
	}{
		{outcome: OutcomeRevoked, wantSuccess: true},
		{outcome: OutcomeRotated, wantSuccess: true},
		{outcome: OutcomeAlreadyGone, wantSuccess: true},
		{outcome: OutcomeRefused, wantDeadLetter: true},
		{outcome: OutcomeExhausted, wantDeadLetter: true},
		{outcome: OutcomeCancelled},
	}
	if len(tests) != len(Outcomes()) {
		t.Errorf("%d outcomes are tested, there are %d", len(tests), len(Outcomes()))
	}
	for _, tt := range tests {
		t.Run(string(tt.outcome), func(t *testing.T) {
			if got := tt.outcome.Success(); got != tt.wantSuccess {
				t.Errorf("Success = %v", got)
			}
			if got := tt.outcome.DeadLetter(); got != tt.wantDeadLetter {
				t.Errorf("DeadLetter = %v", got)
			}
		})
	}
}

func TestReasons(t *testing.T) {
	tests := []struct {
		reason    Reason
		wantRetry bool
		wantFree  bool
	}{
		{reason: ReasonNone},
		{reason: ReasonRateLimited, wantRetry: true, wantFree: true},
		{reason: ReasonUnavailable, wantRetry: true},
		{reason: ReasonUnauthorized},
		{reason: ReasonForbidden},
		{reason: ReasonNotFound},
		{reason: ReasonConflict, wantRetry: true},
		{reason: ReasonInvalid},
		{reason: ReasonProtocol, wantRetry: true},
		{reason: ReasonConfig, wantRetry: true},
		{reason: ReasonInterrupted, wantRetry: true, wantFree: true},
	}
	var tested []Reason
	for _, tt := range tests {
		tested = append(tested, tt.reason)
		t.Run(string(tt.reason), func(t *testing.T) {
			if got := tt.reason.Retryable(); got != tt.wantRetry {
				t.Errorf("Retryable = %v", got)
			}
			if got := tt.reason.Free(); got != tt.wantFree {
				t.Errorf("Free = %v", got)
			}
		})
	}
	if diff := cmp.Diff(Reasons(), tested); diff != "" {
		t.Errorf("not all reasons are tested (-all +tested):\n%s", diff)
	}
	for reason := range reasons {
		if !slices.Contains(Reasons(), reason) {
			t.Errorf("reason %s is in the table and not in the set", reason)
		}
	}
	for _, reason := range Reasons()[1:] {
		if _, ok := reasons[reason]; !ok {
			t.Errorf("reason %s is not in the table", reason)
		}
	}
}
