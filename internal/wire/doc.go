// Package wire turns the configuration into the Config of each package that needs one.
package wire
