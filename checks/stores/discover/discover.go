// Package discover stands in for the library by which Vault's raft nodes find each other in eleven clouds: their clients are a third
// of all packages, and the server of the tests is alone.
package discover

import (
	"errors"
	"log"
)

var errAlone = errors.New("the servers of these tests find no others")

// Provider is a cloud.
type Provider any

// Providers are the clouds: none.
var Providers = map[string]Provider{}

// Discover finds no server.
type Discover struct{}

// Option is ignored.
type Option func(*Discover) error

// New returns a Discover.
func New(...Option) (*Discover, error) { return &Discover{}, nil }

// WithProviders is an option.
func WithProviders(map[string]Provider) Option { return nil }

// Addrs finds no server.
func (*Discover) Addrs(string, *log.Logger) ([]string, error) { return nil, errAlone }

// Config is what would be looked for.
type Config map[string]string

// Parse takes no configuration.
func Parse(string) (Config, error) { return nil, errAlone }

// String has nothing to say.
func (Config) String() string { return "" }
