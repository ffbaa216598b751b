package metrics

import "github.com/prometheus/client_golang/prometheus/promauto"

// buildDoors makes the instruments of doors.
func (m *Metrics) buildDoors(f promauto.Factory) {
	m.DoorEvents = f.NewCounterVec(counter("door_events_total",
		"Requests to a door, by result: accepted, ignored (asks for nothing), unauthorized, malformed or unavailable (to be sent again); and events of a door that were accepted and that no policy matches (unmatched)."),
		[]string{"door", "result"})
}

// createDoor creates the series of one door.
func (m *Metrics) createDoor(door string) {
	for _, result := range m.labels.doorResults.start() {
		m.DoorEvents.WithLabelValues(door, result)
	}
}

// DoorEvent counts a request to a door, or what intake makes of its event, by result.
func (m *Metrics) DoorEvent(door, result string) {
	if m == nil {
		return
	}
	m.DoorEvents.WithLabelValues(m.doors.Load().bound(door), m.labels.doorResults.bound(result)).Inc()
}

// SetDoors makes names the configured doors, as changeLabel says.
func (m *Metrics) SetDoors(names []string) error {
	if m == nil {
		return nil
	}
	return changeLabel(&m.doors, "door", names, m.createDoor, m.DoorEvents)
}
