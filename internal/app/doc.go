// Package app builds a worker from its parts, runs it and stops it in order.
package app
