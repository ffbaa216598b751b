// Package access recognises who asks over HTTP, programs and persons, and says what they may do.
package access
