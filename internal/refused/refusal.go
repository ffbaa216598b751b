// Package refused counts refused HTTP requests, and writes the counts to the audit trail in bounded pieces.
package refused

import (
	"net"
	"net/netip"
	"time"
)

// Type is the CloudEvents type of a Report.
const Type = "rekey.access.refused.v1"

// Key is what refusals have in common that are counted together. Each of its texts is from a closed set, or a configured name.
type Key struct {
	Door   string `json:"door,omitempty"`   // The door; empty: the API.
	Client string `json:"client,omitempty"` // The client; empty: it was not recognised, or it is a door's sender.
	Route  string `json:"route"`            // As rekey_api_requests_total has it.
	Status int    `json:"status"`           // Of the answer.
	Code   string `json:"code"`             // Of the answer's problem; of a door, the result.
}

// Count is how often something was refused, and when.
type Count struct {
	Count uint64    `json:"count"`
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
}

// Network is how many of the requests came from a network.
type Network struct {
	Network string `json:"network"` // /24 of IPv4, /64 of IPv6.
	Count   uint64 `json:"count"`
}

// Refusals are those of one key in the time of a report.
type Refusals struct {
	Key
	Count
	Networks []Network `json:"networks"` // The first ones that requests came from.
	// Elsewhere is how many came from other networks than these.
	Elsewhere uint64 `json:"elsewhere,omitempty"`
}

// Report is what a worker refused in a span of time.
type Report struct {
	Worker   string     `json:"worker"`
	From     time.Time  `json:"from"`
	Until    time.Time  `json:"until"`
	Refusals []Refusals `json:"refusals"`
	// Others are refusals with more different keys than a report lists. Their count alone is kept.
	Others Count `json:"others,omitzero"`
}

// networkOf is the network of a remote address, "" where there is no address.
func networkOf(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return ""
	}
	addr = addr.Unmap().WithZone("")
	bits := 64
	if addr.Is4() {
		bits = 24
	}
	prefix, err := addr.Prefix(bits)
	if err != nil {
		return ""
	}
	return prefix.String()
}

// add counts one more.
func (c *Count) add(at time.Time) {
	if c.Count == 0 {
		c.First = at
	}
	c.Count++
	c.Last = at
}

// add counts one more, from a network.
func (r *Refusals) add(network string, at time.Time) {
	r.Count.add(at)
	for i := range r.Networks {
		if r.Networks[i].Network == network {
			r.Networks[i].Count++
			return
		}
	}
	if network == "" || len(r.Networks) == mostNetworks {
		r.Elsewhere++
		return
	}
	r.Networks = append(r.Networks, Network{Network: network, Count: 1})
}
