// Package fleet is what commands, pages and the API ask of a running fleet.
package fleet
