// Package schedules proves, with running workers, that each tick is one job in the whole fleet, and what a reload changes.
package schedules
