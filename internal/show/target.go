package show

import (
	"regexp"

	"rekey/internal/terminal"
)

// atlasID is an id as Atlas writes it.
var atlasID = regexp.MustCompile(`[0-9a-f]{24}`)

// target is the cell of a target.
func target(full string) terminal.Shortened {
	return terminal.Shortened{Full: full, Short: ShortTarget(full)}
}

// ShortTarget shortens a target for a table. Its ids keep their ends, in which they differ.
func ShortTarget(target string) string {
	const most = 60 // Fits a role mapping.
	return terminal.Short(atlasID.ReplaceAllStringFunc(target, func(id string) string { return id[:4] + "…" + id[20:] }), most)
}
