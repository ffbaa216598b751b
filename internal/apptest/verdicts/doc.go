// Package verdicts proves, with running workers and an API that can lie, that a verdict says what is true.
package verdicts
