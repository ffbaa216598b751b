// Package durability proves, with running workers, that nothing accepted is lost and nothing is done twice, whatever is killed in between.
package durability
