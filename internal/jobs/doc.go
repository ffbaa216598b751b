// Package jobs is the domain of Rekey: an Event becomes a Job, a Job is attempted until
// it has an Outcome, and every step of that life is decided here, behind small interfaces
// that the adapters (JetStream, the ledger, the Atlas API) implement.
package jobs
