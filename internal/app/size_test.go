//go:build !large

package app_test

const large = false
