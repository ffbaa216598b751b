// Package k8s stands in for one of the clouds: see package discover.
package k8s

// Provider is the cloud.
type Provider struct{}
