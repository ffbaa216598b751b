package terminal

import "slices"

// contextLines is how many equal lines are shown around a difference.
const contextLines = 3

// Difference shows how got differs from want, line by line: "-" is missing, "+" is new.
// Equal lines are shown near differences only, and "…" stands for the others.
func Difference(want, got []string) []string {
	type line struct {
		text  string
		equal bool
	}
	var all []line
	common := commonLengths(want, got)
	i, j := 0, 0
	for i < len(want) || j < len(got) {
		switch {
		case i < len(want) && j < len(got) && want[i] == got[j]:
			all = append(all, line{"  " + want[i], true})
			i, j = i+1, j+1
		case j == len(got) || i < len(want) && common[i+1][j] >= common[i][j+1]:
			all = append(all, line{"- " + want[i], false})
			i++
		default:
			all = append(all, line{"+ " + got[j], false})
			j++
		}
	}
	near := make([]bool, len(all))
	for n, l := range all {
		for k := max(n-contextLines, 0); !l.equal && k < min(n+contextLines+1, len(all)); k++ {
			near[k] = true
		}
	}
	var shown []string
	for n, l := range all {
		switch {
		case near[n]:
			shown = append(shown, l.text)
		case n == 0 || near[n-1]:
			shown = append(shown, "…")
		}
	}
	return shown
}

// commonLengths are, for each pair of positions, how many lines the rests have in common,
// in their order.
func commonLengths(a, b []string) [][]int {
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i, line := range slices.Backward(a) {
		for j, other := range slices.Backward(b) {
			if line == other {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	return common
}
