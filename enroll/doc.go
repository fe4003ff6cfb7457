// Package enroll gives devices their credentials: the first ones by a token of
// an enrolment group, later ones by those that they have. A device proves its
// key by signing a nonce; accountd signs with keys of the fleet that were given
// to it. Of a device nothing is kept, but that a token was used, until the token
// expires: what admits and refuses it are the claims of its account.
package enroll
