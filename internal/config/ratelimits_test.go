package config_test

import "testing"

func TestRateLimitProblems(t *testing.T) {
	const path = "1: atlas.rate_limits"
	runProblemTests(t, []problemTest{
		{name: "reading", text: "atlas: {rate_limits: {read: sometimes}}\n", want: []string{path + ".read: must be one of auto, always, never"}},
		{name: "share", text: "atlas: {rate_limits: {urgent_share: 91}}\n", want: []string{path + ".urgent_share: must be from 0 to 90, not 91"}},
		{name: "endpoint set", text: "atlas: {rate_limits: {x509: {scope: project}}}\n", want: []string{path + ".x509: unknown key; did you mean x509_project?"}},
		{name: "scope", text: "atlas: {rate_limits: {x509_project: {scope: team}}}\n", want: []string{
			path + ".x509_project.scope: must be one of account, organization, project, address",
		}},
		{name: "part of a bucket", text: "atlas: {rate_limits: {oauth_revoke: {capacity: 10}}}\n", want: []string{
			path + ".oauth_revoke.every: is required: a bucket is capacity, refill and every",
			path + ".oauth_revoke.refill: is required: a bucket is capacity, refill and every",
		}},
		{name: "numbers", text: "atlas: {rate_limits: {oauth_revoke: {capacity: 0, refill: -1, every: 25h}}}\n", want: []string{
			path + ".oauth_revoke.capacity: must be from 1 to 1000000, not 0",
			path + ".oauth_revoke.refill: must be from 1 to 1000000, not -1",
			path + ".oauth_revoke.every: must be from 1ms to 24h, not 25h",
		}},
		{name: "period without a unit", text: "atlas: {rate_limits: {oauth_revoke: {capacity: 1, refill: 1, every: 60}}}\n", want: []string{
			path + ".oauth_revoke.every: is not a duration: write a number with its unit, such as 30s, 5m or 1h30m",
		}},
	})
}
