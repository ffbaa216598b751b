// Package intake proves, with running workers, what becomes of events: their jobs, results, dead letters, metrics, traces and audit.
package intake
