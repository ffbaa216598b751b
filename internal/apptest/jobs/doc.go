// Package jobs proves, with running workers, when a job runs and what is said of it. It runs once for each tick in the whole fleet, again when a
// retry is due, and as fast as the API's rate limits allow and no faster. Verdicts and notifications are true, whatever the API answers and whatever
// is killed. It also proves what a reload changes, and that a kind of job is one declaration: one that does not exist is run from event to result.
package jobs
