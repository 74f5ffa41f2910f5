package principal

// ParseLeaseForTest says what the values of a lease header mean.
func ParseLeaseForTest(values []string) (wanted, renewal bool, id [16]byte, bad Reason) {
	c := parseLease(values)
	return c.wanted, c.renewal, c.id, c.bad
}

// HeldForTest counts what a verifier keeps of calls that are under way.
func HeldForTest(v *Verifier) (calls, streams int) {
	for i := range v.calls.shards {
		calls += len(v.calls.shards[i].held())
	}
	v.leases.mu.RLock()
	defer v.leases.mu.RUnlock()
	return calls, len(v.leases.byID)
}
