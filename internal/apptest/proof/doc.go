// Package proof tests that the verdicts on what jobs did are right, whatever the API answers, whatever is killed.
package proof
