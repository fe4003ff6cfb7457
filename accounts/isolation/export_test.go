package isolation

// ID tells breaches apart in tests.
func (b Breach) ID() string { return b.id }
