// Package sandbox is a stand-in for the parts of the MongoDB Atlas API that Rekey calls.
//
// It checks what Atlas checks, changes its state as Atlas would, limits rates with token
// buckets, and misbehaves on request. It serves the demo, `worker sandbox` and tests; it
// holds everything in memory, bounded, and must never be reachable from a network.
//
// # What is copied from the vendor
//
//   - Paths, ids, media types, success codes and error bodies: the Atlas Administration API
//     reference. A missing or unknown version in Accept is answered with 406 and
//     INVALID_VERSION_DATE, as Atlas does. A date between two versions means the earlier one.
//   - The digest challenge, including the order of its fields, the realm and the 401 body
//     that has no errorCode. A caller that lacks a role gets 401 with USER_UNAUTHORIZED, not
//     403: that is what Atlas sends.
//   - The endpoint sets with their capacities and refills: the vendor's table of rate limits
//     (February 2026). Tokens come back in whole refills, one per period.
//   - OAuth errors and revocation: RFC 6749 section 5.2 and RFC 7009. A token of another account
//     stays alive and is answered with 400 invalid_grant ("was issued to another client");
//     an unknown or expired token is answered with 200.
//
// # What is the sandbox's own choice
//
//   - The vendor publishes no error code for an identity provider that organizations still
//     use. The sandbox answers 409 with IDENTITY_PROVIDER_HAS_CONNECTED_ORGS.
//   - Malformed ids are answered with 400 and INVALID_GROUP_ID, INVALID_ORG_ID and so on by
//     the same pattern.
//   - Disabling X.509 where it is off is 202 again, because the vendor documents no error for
//     it and DELETE is idempotent (RFC 9110 section 9.2.2). It starts no second restart.
//   - A period of a bucket starts when the bucket is first used and repeats from there.
//     Requests that fail to authenticate spend nothing. The older v1.0 path is not limited.
//   - Atlas sends no request id that we know of; the sandbox sends X-Request-Id.
//   - A masked secret shows its prefix and its last four characters. Endpoint sets of service accounts, API keys, database users
//     and people, their refills, and the error codes of database users and people are named by the same patterns.
//   - A digest nonce lives 60 seconds. A count may arrive late by up to 63 places, since
//     callers that share a nonce overtake each other, but never twice.
//
// # Control
//
// Paths below /sandbox/ are the sandbox's own, need no credentials and are not logged:
//
//	GET    /sandbox/requests  what was called, oldest first, without bodies and credentials
//	GET    /sandbox/state     accounts, federations, projects, users and faults as they now are
//	POST   /sandbox/faults    a fault as JSON, or one per line as ParseFault reads them
//	DELETE /sandbox/faults    behave again
package sandbox
