// Package proof finds out whether the targets of successful jobs are dead, and stay dead.
package proof
