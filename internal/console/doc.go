// Package console shows a fleet in a browser: pages that ask what commands ask, and do what commands do.
package console
