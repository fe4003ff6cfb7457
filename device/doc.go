// Package device is the device's side of enrolment: it makes the device's key,
// exchanges a token for credentials, and renews them in time. What it knows lies
// in one folder, and every step survives a loss of power: what is there is whole
// and of use, and a step that was not finished is done again.
package device
