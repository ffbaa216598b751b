// Package api answers automation over HTTP: it recognises clients, checks what they may do, and asks the fleet what commands ask.
package api
