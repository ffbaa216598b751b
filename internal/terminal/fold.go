package terminal

import "strings"

// Fold breaks the lines of a text so that they fit into a width, and indents what goes on: behind a name in a first column below what is
// said of it. An indented command of Rekey is broken so that it can be copied. 0 has no limit.
func Fold(text string, width int) string {
	if width < belowWidth {
		return text
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "  worker ") {
			lines[i] = foldCommand(line, width)
		} else {
			lines[i] = foldLine(line, width)
		}
	}
	return strings.Join(lines, "\n")
}

// Help is Fold for the help of a command: paragraphs that are too wide are filled anew, and all examples are commands.
func Help(text string, width int) string {
	if width < belowWidth {
		return text
	}
	var out []string
	examples := false
	for _, line := range paragraphs(text, width) {
		if line != "" && !isIndented(line) {
			examples = line == "Examples:"
		}
		switch {
		case examples:
			out = append(out, foldCommand(line, width))
		case isIndented(line):
			out = append(out, Fold(line, width))
		default:
			out = append(out, fill(line, width)...)
		}
	}
	return strings.Join(out, "\n")
}

// paragraphs are the lines of a text, and of each paragraph with a line that is too wide one line.
func paragraphs(text string, width int) []string {
	var all, open []string
	end := func() {
		for _, line := range open {
			if measure.StringWidth(line) > width {
				open = []string{strings.Join(open, " ")}
				break
			}
		}
		all, open = append(all, open...), nil
	}
	for line := range strings.SplitSeq(text, "\n") {
		if line == "" || isIndented(line) {
			end()
			all = append(all, line)
			continue
		}
		if open = append(open, line); strings.HasSuffix(line, ":") {
			end()
		}
	}
	end()
	return all
}

func isIndented(line string) bool { return strings.TrimLeft(line, " \t") != line }

// foldLine breaks one line.
func foldLine(line string, width int) string {
	if measure.StringWidth(line) <= width {
		return line
	}
	body := strings.TrimLeft(line, " ")
	first := line[:len(line)-len(body)]
	hang := len(first) + 2
	if name, behind, ok := strings.Cut(body, columnGap); ok {
		said := strings.TrimLeft(behind, " ")
		column := first + name + columnGap + behind[:len(behind)-len(said)]
		if w := measure.StringWidth(column); w <= width/2 {
			first, body, hang = column, said, w
		}
	}
	if hang >= width {
		return line
	}
	return first + strings.Join(fill(body, width-hang), "\n"+strings.Repeat(" ", hang))
}

// foldCommand breaks a command between its words, as a shell takes it. One with a word that does not fit is left to the terminal: nothing is
// gained for a reader, and it can be copied.
func foldCommand(line string, width int) string {
	if measure.StringWidth(line) <= width {
		return line
	}
	body := strings.TrimLeft(line, " ")
	margin := line[:len(line)-len(body)]
	further := margin + "    "
	most := width - len(further) - len(` \`)
	lines, open := []string{}, ""
	for _, word := range shellWords(body) {
		switch {
		case measure.StringWidth(word) > most:
			return line
		case open == "":
			open = word
		case measure.StringWidth(open+" "+word) > most:
			lines, open = append(lines, open), word
		default:
			open += " " + word
		}
	}
	return margin + strings.Join(append(lines, open), " \\\n"+further)
}

// shellWords cuts a command at the spaces that are in no quotes.
func shellWords(command string) []string {
	var words []string
	start, quote := 0, byte(0)
	for i := range len(command) {
		switch c := command[i]; {
		case quote == 0 && c == ' ':
			words = append(words, command[start:i])
			start = i + 1
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case c == quote:
			quote = 0
		}
	}
	return append(words, command[start:])
}

// wrap breaks a text into lines of at most width, between words where it can.
func wrap(text string, width int) []string { return split(text, width, false) }

// fill is wrap for a text that is no cell: a word that is wider, such as an address, is whole, as it may be copied.
func fill(text string, width int) []string { return split(text, width, true) }

func split(text string, width int, wholeWords bool) []string {
	var lines []string
	for measure.StringWidth(text) > width && width > 0 {
		part := measure.Truncate(text, width+1, "")
		if end := lastBreak(text, part); end > 0 {
			part = part[:end]
		} else if part = measure.Truncate(text, width, ""); wholeWords {
			rest, _, _ := strings.Cut(text[len(part):], " ")
			part += rest
		}
		if part == "" { // One letter is wider than the column.
			break
		}
		lines = append(lines, strings.TrimRight(part, " "))
		text = strings.TrimLeft(text[len(part):], " ")
	}
	if text == "" && len(lines) > 0 {
		return lines
	}
	return append(lines, text)
}

// lastBreak is where the last space is in the beginning of a text at which a line may end; 0 where there is none. A number stays with the
// unit of one or two letters behind it.
func lastBreak(text, part string) int {
	for end := strings.LastIndex(part, " "); end > 0 && strings.TrimSpace(part[:end]) != ""; end = strings.LastIndex(part[:end], " ") {
		if before, behind := text[end-1], text[end+1:]; before < '0' || before > '9' || !isUnit(behind) {
			return end
		}
	}
	return 0
}

// isUnit reports whether a text begins with a word that is like a unit, as h and ms.
func isUnit(text string) bool {
	word, _, _ := strings.Cut(text, " ")
	word = strings.TrimRight(word, ",;.)")
	return len(word) > 0 && len(word) <= 2 && strings.Trim(word, "abcdefghijklmnopqrstuvwxyz") == ""
}
