// Package results proves, with running workers, that what is said of a job is true and reaches its receivers: verdicts, whatever the API
// answers and whatever is killed, and notifications.
package results
