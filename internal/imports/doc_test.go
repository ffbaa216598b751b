// Package imports holds the arrows between the packages of Rekey: which one may import which. Run it alone with
//
//	go test ./internal/imports
//
// A failure prints the row as the code would have it. Whether the row or the import is wrong is for the author to say: an
// arrow that points up, from the domain to an adapter say, is a mistake in the code.
package imports_test
