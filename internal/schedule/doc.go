// Package schedule fires cron schedules so that every tick happens once, across workers, restarts and changes of the clock.
//
// An [Expr] says when a schedule ticks, a [Spec] adds how to treat the ticks, and a [Scheduler] waits for them. Any
// number of workers may run the same schedules on one [Store]: each of them fires each tick, and the [Firer] makes
// one job of it, because the name of the schedule and the time of the tick are the same everywhere.
package schedule
