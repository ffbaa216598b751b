// Package words holds what people read in this repository to plain words: text and identifiers of Go files, documents,
// help, configuration and what is deployed. Run it alone with
//
//	go test ./internal/words
package words_test
