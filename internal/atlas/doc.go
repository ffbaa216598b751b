// Package atlas revokes credentials through the MongoDB Atlas and Cloud Manager API: it
// authenticates as one of the configured accounts, makes one request for each attempt, and
// turns whatever comes back into a jobs.Answer or a *jobs.Failure.
//
// What the API promises is in the vendor's documentation of the Atlas Administration API v2,
// RFC 6749 (client credentials), RFC 7009 (token revocation) and RFC 7616 (HTTP Digest). What
// it does not promise, such as pages of HTML from a proxy, is survived.
//
// Nothing here attempts anything a second time, with two exceptions that belong to
// authentication: one repeat with a fresh bearer token after a 401, and the repeat that the
// challenge of HTTP Digest asks for. Redirects are never followed.
package atlas
