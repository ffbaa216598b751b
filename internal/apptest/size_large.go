//go:build large

package apptest

const large = true
