// Package durable writes files that are either the old or the new ones after a
// kill or a power cut, and locks files between processes.
//
// Functions ending in In work below an [os.Root] and take slash-separated
// names relative to it; names that come from outside belong there, since a
// root cannot be left. Errors are those of the operating system, wrapped; only
// waiting for a lock makes errors of its own.
package durable
