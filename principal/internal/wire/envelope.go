package wire

// Block is a payload with its signature, as it came.
type Block struct {
	Payload   string
	KeyID     string
	Signature string
}

// Envelope is the outer message. Its strings share the memory of the input.
type Envelope struct {
	Authority Block
	Opening   string // "" or 16 bytes

	links  [MaxLinks]Block
	count  int
	prefix int
}

// Links returns the links in the order in which they were appended.
func (e *Envelope) Links() []Block { return e.links[:e.count] }

// Block returns the authority block for 0, else the i-th link.
func (e *Envelope) Block(i int) Block {
	if i == 0 {
		return e.Authority
	}
	return e.links[i-1]
}

// PrefixLen is the length of the input before its last link; 0 without links.
// The input is canonical, so these bytes stand for all blocks but the last.
func (e *Envelope) PrefixLen() int { return e.prefix }

var (
	envelopeFields = fields{known: 1<<1 | 1<<2 | 1<<3, repeated: 1 << 2, closed: true}
	blockFields    = fields{known: 1<<1 | 1<<2 | 1<<3, closed: true}
)

// ParseEnvelope reads a header. What it accepts is canonical: AppendEnvelope
// gives the input again.
func ParseEnvelope(header string, e *Envelope) error {
	*e = Envelope{}
	if len(header) > MaxHeader {
		return &Error{Fault: Size, Problem: "header is longer than 3072 bytes"}
	}
	c := cursor{buf: header, fields: envelopeFields}
	authority := false
	for at := 0; c.next(); at = c.pos {
		switch c.num {
		case 1:
			e.Authority, authority = c.block("authority"), true
		case 2:
			if e.count == MaxLinks {
				c.fail(Malformed, "links", "more than 6")
				break
			}
			e.prefix = at
			e.links[e.count] = c.block("links")
			e.count++
		case 3:
			if e.Opening = c.bytes("tail_opening"); c.err == nil && len(e.Opening) != len(ID{}) {
				c.fail(Malformed, "tail_opening", "is not 16 bytes")
			}
		}
	}
	if c.err == nil && !authority {
		c.fail(Malformed, "authority", "is missing")
	}
	if c.err != nil {
		return c.err
	}
	return nil
}

func (c *cursor) block(field string) Block {
	inner := c.message(field, blockFields)
	var b Block
	for inner.next() {
		switch inner.num {
		case 1:
			b.Payload = inner.bytes("payload")
		case 2:
			b.KeyID = inner.bytes("key_id")
		case 3:
			b.Signature = inner.bytes("signature")
		}
	}
	switch {
	case inner.err != nil:
	case b.Payload == "":
		inner.fail(Malformed, "payload", "is missing")
	case !IsKeyID(b.KeyID):
		inner.fail(Malformed, "key_id", "is not 1 to 32 characters of [A-Za-z0-9_-]")
	case len(b.Signature) != SignatureLen:
		inner.fail(Malformed, "signature", "is not 64 bytes")
	}
	c.leave(&inner)
	return b
}

// AppendHead appends the encoding of a first block.
func AppendHead(dst []byte, authority Block) []byte { return appendBlock(dst, 1, authority) }

// AppendLink appends the encoding of one more link.
func AppendLink(dst []byte, link Block) []byte { return appendBlock(dst, 2, link) }

// AppendOpening appends the encoding of the tail's opening, which comes last.
func AppendOpening(dst []byte, opening ID) []byte { return appendBytes(dst, 3, string(opening[:])) }

// AppendEnvelope appends the canonical encoding of e.
func AppendEnvelope(dst []byte, e *Envelope) []byte {
	dst = AppendHead(dst, e.Authority)
	for _, link := range e.Links() {
		dst = AppendLink(dst, link)
	}
	if e.Opening != "" {
		dst = appendBytes(dst, 3, e.Opening)
	}
	return dst
}

func appendBlock(dst []byte, num uint32, b Block) []byte {
	dst, at := beginMessage(dst, num)
	dst = appendBytes(dst, 1, b.Payload)
	dst = appendBytes(dst, 2, b.KeyID)
	dst = appendBytes(dst, 3, b.Signature)
	return endMessage(dst, at)
}
