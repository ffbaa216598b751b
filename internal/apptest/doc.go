// Package apptest runs workers for tests, beside a stand-in for the API, and looks at what they did as a stranger would.
// What is proved by it is in the packages below.
package apptest
