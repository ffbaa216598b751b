package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// SetSecretExpiries sets when the secrets of the configured accounts expire; the zero time means that it is not known.
// Series of other accounts go. Without any account one series with an empty name says that the metric is there.
func (m *Metrics) SetSecretExpiries(accounts map[string]time.Time) {
	if m == nil {
		return
	}
	setEnds(m.AccountSecretExpires, accounts)
}

// SetWatchedExpiries does the same for what is watched, by its names.
func (m *Metrics) SetWatchedExpiries(watched map[string]time.Time) {
	if m == nil {
		return
	}
	setEnds(m.WatchedExpires, watched)
}

// setEnds sets a gauge with one label.
func setEnds(gauge *prometheus.GaugeVec, ends map[string]time.Time) {
	gauge.Reset()
	if len(ends) == 0 {
		gauge.WithLabelValues("")
	}
	for name, at := range ends {
		gauge.WithLabelValues(name).Set(unixSeconds(at))
	}
}
