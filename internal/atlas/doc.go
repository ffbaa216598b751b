// Package atlas revokes credentials through the MongoDB Atlas and Cloud Manager API: it
// authenticates as one of the configured accounts, makes one request for each attempt, and
// turns the answer into a jobs.Answer or a *jobs.Failure.
//
// The API is specified by the vendor's documentation of the Atlas Administration API v2,
// RFC 6749 (client credentials), RFC 7009 (token revocation) and RFC 7616 (HTTP Digest). Answers
// outside of these, such as pages of HTML from a proxy, become failures.
//
// This package retries no request, with two exceptions that belong to authentication: one
// repeat with a fresh bearer token after a 401, and the repeat that the challenge of HTTP Digest
// requires. Redirects are never followed.
package atlas
