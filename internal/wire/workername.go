package wire

import (
	"fmt"
	"strings"
	"time"

	"rekey/internal/config"
)

// WorkerName is what a worker is called: as the configuration says, or by a name that no other in the fleet has, of the
// host, the process and the moment.
func WorkerName(c *config.Config, host string, pid int, now time.Time) string {
	host = strings.ToLower(strings.SplitN(host, ".", 2)[0])
	if c.Worker.Name != "" {
		return strings.ReplaceAll(c.Worker.Name, config.HostInName, host)
	}
	return fmt.Sprintf("%s-%d-%x", host, pid, now.UnixMilli()&0xffffff)
}
