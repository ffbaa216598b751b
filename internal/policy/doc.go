// Package policy turns events of any origin into requests for jobs, by rules whose
// expressions are CEL (https://cel.dev).
package policy
