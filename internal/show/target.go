package show

import (
	"regexp"

	"rekey/internal/terminal"
)

// atlasID is an id as Atlas writes it.
var atlasID = regexp.MustCompile(`[0-9a-f]{24}`)

// ShortTarget shortens a target for a table. Its ids keep their ends, in which they differ.
func ShortTarget(target string) string {
	const most = 60 // Fits a role mapping.
	return terminal.Short(atlasID.ReplaceAllStringFunc(target, func(id string) string { return id[:4] + "…" + id[20:] }), most)
}
