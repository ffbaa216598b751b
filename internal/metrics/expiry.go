package metrics

import "time"

// SetSecretExpiries sets when the secrets of the configured accounts expire; the zero time means that it is not known.
// Series of other accounts go. Without any account one series with an empty name says that the metric is there.
func (m *Metrics) SetSecretExpiries(accounts map[string]time.Time) {
	if m == nil {
		return
	}
	m.AccountSecretExpires.Reset()
	if len(accounts) == 0 {
		m.AccountSecretExpires.WithLabelValues("")
	}
	for name, at := range accounts {
		m.AccountSecretExpires.WithLabelValues(name).Set(unixSeconds(at))
	}
}
