package keyset

// WriteNew writes a file with a sync that can fail.
var WriteNew = writeNew

// ParsePrivateKeyForTest reads the content of a key file.
var ParsePrivateKeyForTest = parsePrivateKey
