package redact

import (
	"slices"
	"strings"
)

// Vendor is a credential that is known by how it begins.
type Vendor struct {
	Name   string // With its article.
	Prefix string // An expression for the beginning, enough to tell what a whole text is.
	rest   string // What follows it where it is found inside of other text.
	hints  []string
	words  bool // The rest could be words with hyphens: it must not look like some.
}

// Vendors are the well-known prefixes. What is found by them is taken out of texts that are shown.
var Vendors = []Vendor{
	{"a GitHub token", `gh[pousr]_`, `[A-Za-z0-9]{20,}`, []string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_"}, false},
	{"a GitHub token", `github_pat_`, `[A-Za-z0-9_]{20,}`, []string{"github_pat_"}, false},
	{"a GitLab token", `(?:glpat|gldt|glrt|glcbt|glptt|glft|glimt|glagent|glsoat|gloas)-`, `[A-Za-z0-9_.-]{15,}`, []string{"glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glft-", "glimt-", "glagent-", "glsoat-", "gloas-"}, true},
	{"a Slack token", `xox[a-z](?:\.xox[a-z])?-`, `[A-Za-z0-9-]{10,}`, []string{"xox"}, true},
	{"a Slack token", `xapp-`, `[A-Za-z0-9-]{10,}`, []string{"xapp-"}, true},
	{"a Stripe key", `[srp]k_(?:live|test)_`, `[A-Za-z0-9]{10,}`, []string{"k_live_", "k_test_"}, false},
	{"an API key of an AI vendor", `sk-`, `(?:[A-Za-z]{2,8}[0-9]{0,2}-)*[A-Za-z0-9_]{20,}(?:-[A-Za-z0-9_]+)*`, []string{"sk-"}, true},
	{"a Vault token", `hv[sbr]\.`, `[A-Za-z0-9_-]{20,}`, []string{"hvs.", "hvb.", "hvr."}, false},
	{"a Vault token", `[sbr]\.[A-Za-z0-9]{20}`, `[A-Za-z0-9]{4,80}\b`, []string{"s.", "b.", "r."}, true},
	{"a Grafana token", `gl(?:sa|c)_`, `[A-Za-z0-9_+/=]{20,}`, []string{"glsa_", "glc_"}, false},
	{"a Terraform token", `[A-Za-z0-9]{14}\.atlasv1\.`, `[A-Za-z0-9_-]{20,}`, []string{".atlasv1."}, false},
	{"a Docker token", `dckr_[a-z]{3}_`, `[A-Za-z0-9_-]{20,}`, []string{"dckr_"}, false},
	{"an Atlassian token", `ATATT3`, `[A-Za-z0-9_=-]{20,}`, []string{"ATATT3"}, false},
	{"a Postman key", `PMAK-`, `[A-Za-z0-9-]{20,}`, []string{"PMAK-"}, true},
	{"a Tailscale key", `tskey-`, `[A-Za-z0-9-]{15,}`, []string{"tskey-"}, true},
	{"a Pulumi token", `pul-`, `[a-f0-9]{20,}`, []string{"pul-"}, false},
	{"a Sentry token", `sntry[su]_`, `[A-Za-z0-9_+/=]{20,}`, []string{"sntrys_", "sntryu_"}, false},
	{"a New Relic key", `NRAK-`, `[A-Z0-9]{20,}`, []string{"NRAK-"}, false},
	{"a Doppler token", `dp\.[a-z]{2,8}\.`, `[A-Za-z0-9_-]{20,}`, []string{"dp."}, false},
	{"a Google API key", `AIza`, `[A-Za-z0-9_-]{30,}`, []string{"AIza"}, false},
	{"a Google access token", `ya29\.`, `[A-Za-z0-9_-]{20,}`, []string{"ya29."}, false},
	{"an npm token", `npm_`, `[A-Za-z0-9]{30,}`, []string{"npm_"}, false},
	{"a PyPI token", `pypi-`, `[A-Za-z0-9_-]{20,}`, []string{"pypi-"}, true},
	{"a DigitalOcean token", `do[opr]_v1_`, `[0-9a-f]{32,}`, []string{"_v1_"}, false},
	{"a SendGrid key", `SG\.`, `[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}`, []string{"SG."}, false},
	{"a Shopify token", `shp(?:at|ca|pa|ss)_`, `[0-9a-f]{32}`, []string{"shpat_", "shpca_", "shppa_", "shpss_"}, false},
	{"a signing secret of a webhook", `whsec_`, `[A-Za-z0-9+/_-]{20,}={0,2}`, []string{"whsec_"}, false},
	{"a Hugging Face token", `hf_`, `[A-Za-z0-9]{30,}`, []string{"hf_"}, false},
	{"a Databricks token", `dapi[0-9a-f]{8}`, `[0-9a-f]{24}`, []string{"dapi"}, false},
	{"an age key", `AGE-SECRET-KEY-1`, `[A-Z0-9]{50,}`, []string{"AGE-SECRET-KEY-1"}, false},
	{"the seed of an nkey", `S[ACNOUX][A-Z2-7]{50}`, `[A-Z2-7]{6}`, []string{"SA", "SC", "SN", "SO", "SU", "SX"}, false},
}

// foreignShapes are the vendors' credentials inside of other text.
func foreignShapes() []shape {
	shapes := make([]shape, 0, len(Vendors))
	for _, v := range Vendors {
		var passes func(string) bool
		if v.words {
			passes = looksRandom
		}
		shapes = append(shapes, shape{hints: v.hints, sure: true, find: submatches(boundary+`(`+v.Prefix+`(`+v.rest+`))`, passes)})
	}
	return shapes
}

// looksRandom tells a credential from words with hyphens: it has a digit, or letters of both cases.
func looksRandom(text string) bool {
	hasUpper := strings.ContainsFunc(text, func(r rune) bool { return r >= 'A' && r <= 'Z' })
	hasLower := strings.ContainsFunc(text, func(r rune) bool { return r >= 'a' && r <= 'z' })
	return hasUpper && hasLower || strings.ContainsAny(text, "0123456789")
}

// contains reports whether one of the hints is in the text.
func contains(text string, hints []string) bool {
	return slices.ContainsFunc(hints, func(hint string) bool { return strings.Contains(text, hint) })
}
