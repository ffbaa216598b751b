package wire

import (
	"rekey/internal/config"
	"rekey/internal/door"
)

// Doors are those of a configuration.
func Doors(c *config.Config) []door.Door {
	list := make([]door.Door, len(c.API.Doors))
	for i := range c.API.Doors {
		list[i] = c.API.Doors[i].Door()
	}
	return list
}

// DoorNames are the names of the doors of a configuration.
func DoorNames(c *config.Config) []string {
	names := make([]string, len(c.API.Doors))
	for i := range c.API.Doors {
		names[i] = c.API.Doors[i].Name
	}
	return names
}
