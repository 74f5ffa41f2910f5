package principal //nolint:testpackage // what the tests of keys need from inside

// VerifyForTest verifies a signature of 64 bytes with a key.
func VerifyForTest(key *PublicKey, message, signature []byte) Reason {
	return key.verify(message, signature)
}
