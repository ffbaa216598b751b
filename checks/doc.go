// Package checks holds the tests of everything here that is not Go: the Helm chart, manifests, alert rules,
// dashboard, server configurations, units and documents. It is a module of its own so that what they need, Kubernetes'
// types and Helm before all, stays out of the worker's.
//
//	go -C checks test ./...
package checks
