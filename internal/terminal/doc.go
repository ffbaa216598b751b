// Package terminal lays out texts for a person at a terminal, and asks that person.
package terminal
