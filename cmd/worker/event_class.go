package main

import (
	"slices"
	"strings"

	"rekey/internal/jobs"
)

// mistypedBy is how many letters a mistyped class may be off.
const mistypedBy = 2

// meantClass returns the class of Rekey's own that one of a class's tokens was probably meant as, or "". A
// mistyped incident is no error: a class may have any name, and its jobs are in no hurry then.
func meantClass(class string) string {
	known := []string{jobs.ClassIncident, jobs.ClassRotation}
	if slices.Contains(known, jobs.LastToken(class)) {
		return ""
	}
	for token := range strings.SplitSeq(strings.ToLower(class), ".") {
		for _, name := range known {
			if editDistance(token, name) <= mistypedBy {
				return name
			}
		}
	}
	return ""
}

// editDistance is how many letters must be put in, left out, replaced or exchanged with their neighbour
// to make one word of the other.
func editDistance(a, b string) int {
	var before []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
