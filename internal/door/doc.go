// Package door takes in over HTTP what senders post, each as that sender signs it, and publishes it as events.
package door
