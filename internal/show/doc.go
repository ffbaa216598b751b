// Package show says what records and the state of a fleet look like to a person.
package show
